"""Trace headers: stored with the execution, passed on to the executions that it invokes."""

import pytest

from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, child_of, update
from tests.history.simulation import Simulation


@pytest.mark.parametrize(
    ("own", "explicit", "inherited"),
    [(None, None, None), ("a", None, "a"), ("a", "b", "b"), (None, "b", "b")],
)
async def test_a_child_has_the_header_that_it_is_given_or_else_that_of_its_parent(
    own: str | None, explicit: str | None, inherited: str | None
) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent = await simulation.start("n", trace_header=own)
        invocation = await worker.take()
        assert invocation.offer.trace_header == own
        await invocation.checkpoint(update("CHAINED_INVOKE", "START", "i", trace_header=explicit))
        await invocation.complete()
        await settle()
        assert (await worker.take()).offer.trace_header == inherited
        assert (
            await simulation.history.queries.describe(child_of(parent))
        ).trace_header == inherited


async def test_a_header_outlives_the_node() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n", trace_header="Root=1")
        await simulation.open()
        assert (await simulation.history.queries.describe(arn)).trace_header == "Root=1"
