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
from tests.history.world import HostGone, World, function, inside

INVOKE = update("CHAINED_INVOKE", "START", "i", payload='"in"')


async def invoking(world: World, worker: ManualWorker) -> tuple[str, str, Invocation]:
    """Return the ARNs of a parent and its child, and the parent's suspended invocation."""
    parent = await world.start("n")
    invocation = await worker.take()
    await invocation.checkpoint(INVOKE)
    await invocation.complete()
    await settle()
    return parent, child_of(parent), invocation


async def insist(
    world: World, question: Callable[[HistoryService], Coroutine[Any, Any, object]]
) -> None:
    """Ask until there is an answer and everything that follows from it is done."""
    while True:
        if world.host.is_down:
            await world.open()
        with contextlib.suppress(HostGone):
            await world.host.call(question(world.history))
            await settle()
            if not world.host.is_down:
                return


def outbox(world: World) -> list[object]:
    return list(inside(world.memory)._outbox)


async def test_a_child_starts_runs_and_reports_its_end() -> None:
    async with World() as world:
        worker = ManualWorker(world, functions=("order", "child"))
        parent, child, _ = await invoking(world, worker)
        state = await world.history.queries.describe(child)
        assert (state.input, state.status) == ('"in"', "RUNNING")
        await (await worker.take()).complete("SUCCEEDED", '"out"')
        second = await worker.take()
        operation = second.offer.page.operations[1]
        assert (operation.status, inside(operation.details).result) == ("SUCCEEDED", '"out"')
        await second.complete("SUCCEEDED")
        assert outbox(world) == []
        assert (await world.history.queries.describe(parent)).status == "SUCCEEDED"


@pytest.mark.parametrize("ending", ["FAILED", "STOPPED", "TIMED_OUT"])
async def test_however_a_child_ends_its_parent_hears_of_it(ending: str) -> None:
    async with World() as world:
        worker = ManualWorker(world, functions=("order", "child"))
        short_lived = msgspec.structs.replace(function("child"), execution_timeout_s=60)
        await world.history.invocations.register_functions([short_lived])
        parent, child, _ = await invoking(world, worker)
        if ending == "STOPPED":
            await world.history.commands.stop(child, None)
        elif ending == "FAILED":
            await (await worker.take()).complete("FAILED")
        else:
            await world.pass_ms(60_000)
        await settle()
        assert (await world.history.queries.describe(parent)).operations["i"].status == ending


async def test_a_function_that_no_worker_registered_fails_the_invoke_at_once() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        await world.start("n")
        invocation = await worker.take()
        answer = await invocation.checkpoint(
            update("CHAINED_INVOKE", "START", "i", function="nobody")
        )
        assert answer.operations[0].status == "FAILED"
        assert outbox(world) == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [1, 2, 3, 4, 5, 6])
async def test_a_crash_between_an_effect_and_its_settling_changes_nothing_twice(
    commit: int, when: Literal["before", "after"]
) -> None:
    async with World() as world:
        worker = ManualWorker(world, functions=("order", "child"))
        parent = await world.start("n")
        invocation = await worker.take()
        world.host.crash()
        await world.open(cut_at=(commit, when))
        await insist(world, lambda history: history.invocations.claim(invocation.token, "worker-1"))
        await insist(
            world, lambda history: history.invocations.checkpoint(invocation.token, "c", (INVOKE,))
        )
        assert outbox(world) == []
        assert [row.function for row in world.rows()] == ["order", "child"]
        events = world.events(key_of(parent))
        assert events.count("ChainedInvokeStarted") == 1
        await insist(world, lambda history: history.commands.stop(child_of(parent), None))
        assert world.events(key_of(parent)).count("ChainedInvokeStopped") == 1


async def test_a_row_that_is_delivered_twice_changes_once() -> None:
    async with World() as world:
        worker = ManualWorker(world, functions=("order", "child"))
        parent, child, _ = await invoking(world, worker)
        await world.restart()
        rows: list[OutboxRow] = []
        commit = world.host.link.commit

        async def keep(incarnation: int, changes: Sequence[Change], *done: Any) -> None:
            rows.extend(row for change in changes for row in change.outbox)
            await commit(incarnation, changes, *done)

        inside(world.host.link).commit = keep
        await world.history.commands.stop(child, None)
        await settle()
        assert len(rows) == 1
        inside(world.history)._outbox.push(tuple(rows))
        await settle()
        assert world.events(key_of(parent)).count("ChainedInvokeStopped") == 1


async def test_the_end_of_a_child_whose_parent_is_gone_is_let_go() -> None:
    async with World() as world:
        worker = ManualWorker(world, functions=("order", "child"))
        parent, child, _ = await invoking(world, worker)
        await world.history.commands.stop(parent, None)
        await world.history.commands.delete(parent)
        await world.pass_ms(10_000)
        assert [row.function for row in world.rows()] == ["child"]
        await world.history.commands.stop(child, None)
        await settle()
        assert outbox(world) == []


async def test_a_child_whose_name_was_given_away_fails_its_invoke_and_nothing_else() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        parent = await world.start("n")
        child: ExecutionIdentity = parse_arn(child_of(parent))
        await world.history.commands.start(
            StartRequest(namespace="default", function="child", name=child.name)
        )
        invocation = await worker.take()
        await invocation.checkpoint(INVOKE)
        await settle()
        operation = (await world.history.queries.describe(parent)).operations["i"]
        assert (operation.status, inside(operation.details).error.type) == ("FAILED", "NameTaken")
        assert world.is_serving()
        assert outbox(world) == []


async def test_a_child_that_somebody_asks_for_while_it_starts_is_read_once() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        parent = await world.start("n")
        invocation = await worker.take()
        child = child_of(parent)
        # Reading the child begins before it is there and ends when it is.
        link, load = world.host.link, world.host.link.load

        async def late(key: object) -> object:
            if key == key_of(child):
                for _ in range(50):
                    await asyncio.sleep(0)
            return await load(key)  # type: ignore[arg-type]

        inside(link).load = late
        looking = asyncio.ensure_future(world.history.queries.describe(child))
        await invocation.checkpoint(INVOKE)
        await settle()
        assert (await looking).status == "RUNNING"
        assert world.is_serving()


@pytest.mark.parametrize("fate", ["refused", "unknown_written", "unknown_late", "unknown_lost"])
async def test_a_delivery_whose_commit_fails_is_made_again(fate: str) -> None:
    async with World() as world:
        worker = ManualWorker(world)
        parent = await world.start("n")
        invocation = await worker.take()
        world.host.link.script("written", fate)  # type: ignore[arg-type]
        await invocation.checkpoint(INVOKE)
        await world.pass_ms(3_000)
        assert outbox(world) == []
        assert [row.function for row in world.rows()] == ["order", "child"]
        assert (await world.history.queries.describe(child_of(parent))).status == "RUNNING"


async def test_rows_that_could_not_be_read_are_read_again() -> None:
    async with World() as world:
        worker = ManualWorker(world)
        parent = await world.start("n")
        invocation = await worker.take()
        deliverer = inside(world.history)._outbox
        # The row is in the database, and nobody has told the deliverer of it.
        inside(world.history)._executions.on_outbox = len
        await invocation.checkpoint(INVOKE)
        assert len(outbox(world)) == 1
        world.host.link.away = True
        deliverer.reset()
        await world.pass_ms(1_500)
        world.host.link.away = False
        await world.pass_ms(1_000)
        assert (await world.history.queries.describe(child_of(parent))).status == "RUNNING"
        assert len(deliverer) == 0


async def test_more_rows_than_fit_in_memory_are_all_delivered() -> None:
    async with World() as world:
        inside(world.history)._outbox._queue_rows_max = 5
        worker = ManualWorker(world)
        await world.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(
            *(update("CHAINED_INVOKE", "START", f"i{n}") for n in range(300))
        )
        await settle()
        assert outbox(world) == []
        assert len([row for row in world.rows() if row.function == "child"]) == 300
