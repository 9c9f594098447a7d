"""Chained invokes: children start and report their ends, whatever crashes in between."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal

import msgspec
import pytest

from perdure_core.identity import ExecutionIdentity, parse_arn
from perdure_history.service import HistoryService
from perdure_host.ports import Change, OutboxRow
from perdure_host.services import StartRequest, key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import Invocation, ManualWorker, child_of, update
from tests.history.simulation import HostGone, Simulation, function, inside

INVOKE = update("CHAINED_INVOKE", "START", "i", payload='"in"')


async def invoking(simulation: Simulation, worker: ManualWorker) -> tuple[str, str, Invocation]:
    """Return the ARNs of a parent and its child, and the parent's suspended invocation."""
    parent = await simulation.start("n")
    invocation = await worker.take()
    await invocation.checkpoint(INVOKE)
    await invocation.complete()
    await settle()
    return parent, child_of(parent), invocation


async def insist(
    simulation: Simulation, question: Callable[[HistoryService], Coroutine[Any, Any, object]]
) -> None:
    """Ask until there is an answer and everything that follows from it is done."""
    while True:
        if simulation.host.is_down:
            await simulation.open()
        with contextlib.suppress(HostGone):
            await simulation.host.call(question(simulation.history))
            await settle()
            if not simulation.host.is_down:
                return


def outbox(simulation: Simulation) -> list[object]:
    return list(inside(simulation.memory)._outbox)


async def test_a_child_starts_runs_and_reports_its_end() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent, child, _ = await invoking(simulation, worker)
        state = await simulation.history.queries.describe(child)
        assert (state.input, state.status) == ('"in"', "RUNNING")
        await (await worker.take()).complete("SUCCEEDED", '"out"')
        second = await worker.take()
        operation = second.offer.page.operations[1]
        assert (operation.status, inside(operation.details).result) == ("SUCCEEDED", '"out"')
        await second.complete("SUCCEEDED")
        assert outbox(simulation) == []
        assert (await simulation.history.queries.describe(parent)).status == "SUCCEEDED"


@pytest.mark.parametrize("ending", ["FAILED", "STOPPED", "TIMED_OUT"])
async def test_however_a_child_ends_its_parent_hears_of_it(ending: str) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        short_lived = msgspec.structs.replace(function("child"), execution_timeout_s=60)
        await simulation.history.invocations.register_functions([short_lived])
        parent, child, _ = await invoking(simulation, worker)
        if ending == "STOPPED":
            await simulation.history.commands.stop(child, None)
        elif ending == "FAILED":
            await (await worker.take()).complete("FAILED")
        else:
            await simulation.pass_ms(60_000)
        await settle()
        assert (await simulation.history.queries.describe(parent)).operations["i"].status == ending


async def test_a_function_that_no_worker_registered_fails_the_invoke_at_once() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        invocation = await worker.take()
        answer = await invocation.checkpoint(
            update("CHAINED_INVOKE", "START", "i", function="nobody")
        )
        assert answer.operations[0].status == "FAILED"
        assert outbox(simulation) == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [1, 2, 3, 4, 5, 6])
async def test_a_crash_between_an_effect_and_its_settling_changes_nothing_twice(
    commit: int, when: Literal["before", "after"]
) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent = await simulation.start("n")
        invocation = await worker.take()
        simulation.host.crash()
        await simulation.open(cut_at=(commit, when))
        await insist(
            simulation, lambda history: history.invocations.claim([invocation.token], "worker-1")
        )
        await insist(
            simulation,
            lambda history: history.invocations.checkpoint(invocation.token, "c", (INVOKE,)),
        )
        assert outbox(simulation) == []
        assert [row.function for row in simulation.rows()] == ["order", "child"]
        events = simulation.events(key_of(parent))
        assert events.count("ChainedInvokeStarted") == 1
        await insist(simulation, lambda history: history.commands.stop(child_of(parent), None))
        assert simulation.events(key_of(parent)).count("ChainedInvokeStopped") == 1


async def test_a_row_that_is_delivered_twice_changes_once() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent, child, _ = await invoking(simulation, worker)
        await simulation.restart()
        rows: list[OutboxRow] = []
        commit = simulation.host.link.commit

        async def keep(incarnation: int, changes: Sequence[Change], *done: Any) -> Any:
            rows.extend(row for change in changes for row in change.outbox)
            return await commit(incarnation, changes, *done)

        inside(simulation.host.link).commit = keep
        await simulation.history.commands.stop(child, None)
        await settle()
        assert len(rows) == 1
        inside(simulation.history)._outbox.push(tuple(rows))
        await settle()
        assert simulation.events(key_of(parent)).count("ChainedInvokeStopped") == 1


async def test_the_end_of_a_child_whose_parent_is_gone_is_let_go() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent, child, _ = await invoking(simulation, worker)
        await simulation.history.commands.stop(parent, None)
        await simulation.history.commands.delete(parent)
        await simulation.pass_ms(10_000)
        assert [row.function for row in simulation.rows()] == ["child"]
        await simulation.history.commands.stop(child, None)
        await settle()
        assert outbox(simulation) == []


async def test_a_child_whose_name_was_given_away_fails_its_invoke_and_nothing_else() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        parent = await simulation.start("n")
        child: ExecutionIdentity = parse_arn(child_of(parent))
        await simulation.history.commands.start(
            StartRequest(namespace="default", function="child", name=child.name)
        )
        invocation = await worker.take()
        await invocation.checkpoint(INVOKE)
        await settle()
        operation = (await simulation.history.queries.describe(parent)).operations["i"]
        assert (operation.status, inside(operation.details).error.type) == ("FAILED", "NameTaken")
        assert simulation.is_serving()
        assert outbox(simulation) == []


async def test_a_child_that_is_requested_while_it_starts_is_read_once() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        parent = await simulation.start("n")
        invocation = await worker.take()
        child = child_of(parent)
        # Reading the child begins before it is there and ends when it is.
        link, load = simulation.host.link, simulation.host.link.load

        async def late(key: object) -> object:
            if key == key_of(child):
                for _ in range(50):
                    await asyncio.sleep(0)
            return await load(key)  # type: ignore[arg-type]

        inside(link).load = late
        looking = asyncio.ensure_future(simulation.history.queries.describe(child))
        await invocation.checkpoint(INVOKE)
        await settle()
        assert (await looking).status == "RUNNING"
        assert simulation.is_serving()


@pytest.mark.parametrize("fate", ["refused", "unknown_written", "unknown_late", "unknown_lost"])
async def test_a_delivery_whose_commit_fails_is_made_again(fate: str) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        parent = await simulation.start("n")
        invocation = await worker.take()
        simulation.host.link.script("written", fate)  # type: ignore[arg-type]
        await invocation.checkpoint(INVOKE)
        await simulation.pass_ms(3_000)
        assert outbox(simulation) == []
        assert [row.function for row in simulation.rows()] == ["order", "child"]
        assert (await simulation.history.queries.describe(child_of(parent))).status == "RUNNING"


async def test_rows_that_could_not_be_read_are_read_again() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        parent = await simulation.start("n")
        invocation = await worker.take()
        deliverer = inside(simulation.history)._outbox
        # The row is in the database, and nobody has told the deliverer of it.
        inside(simulation.history)._executions.on_outbox = len
        await invocation.checkpoint(INVOKE)
        assert len(outbox(simulation)) == 1
        simulation.host.link.away = True
        deliverer.reset()
        await simulation.pass_ms(1_500)
        simulation.host.link.away = False
        await simulation.pass_ms(1_000)
        assert (await simulation.history.queries.describe(child_of(parent))).status == "RUNNING"
        assert len(deliverer) == 0


async def test_more_rows_than_fit_in_memory_are_all_delivered() -> None:
    async with Simulation() as simulation:
        inside(simulation.history)._outbox._queue_rows_max = 5
        worker = ManualWorker(simulation)
        await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(
            *(update("CHAINED_INVOKE", "START", f"i{n}") for n in range(300))
        )
        await settle()
        assert outbox(simulation) == []
        assert len([row for row in simulation.rows() if row.function == "child"]) == 300
