"""Status events: every start and end, in order, at least once; a sink delays nothing else."""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import pytest
from structlog.testing import capture_logs

from perdure_core.events import ExecutionStarted, ExecutionStopped, InvocationCompleted, Record
from perdure_core.fold import apply
from perdure_core.identity import arn_of, child_identity, parse_arn
from perdure_core.model import ErrorObject
from perdure_core.state import identity_of
from perdure_history.status_event_delivery import BACKOFF_MS_LEAST, BACKOFF_MS_MAX, PAGE_MAX
from perdure_history.status_events import status_events
from perdure_host.errors import Fenced
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Change, ExecutionKey, StatusEventRow
from perdure_host.services import StartRequest
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, update
from tests.history.recording_sink import RecordingSink
from tests.history.simulation import Simulation, function, inside
from tests.store.faulty_store import Fate

# The time at which the clock of a simulation begins: 1,700,000,000,000 ms.
BEGINNING = "2023-11-14T22:13:20"


def value(simulation: Simulation, name: str) -> float | None:
    return simulation.metrics.registry.get_sample_value(f"perdure_status_events_{name}")


async def waiting(simulation: Simulation) -> int:
    """Return how many events wait in the database."""
    return await simulation.memory.count_status_events(limit=100_000)


async def test_a_start_and_a_success_are_delivered_whole() -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n", input='"secret"')
        await simulation.pass_ms(1_234)
        await (await worker.take()).complete("SUCCEEDED", '"secret"')
        await settle()
        assert await waiting(simulation) == 0
        started, ended = sink.delivered
    detail = {
        "durableExecutionArn": arn,
        "durableExecutionName": "n",
        "functionArn": "arn:perdure:lambda:default:000000000000:function:order:$LATEST",
        "status": "RUNNING",
        "startTimestamp": f"{BEGINNING}.000Z",
    }
    assert started == {
        "version": "0",
        "id": started["id"],
        "detail-type": "Durable Execution Status Change",
        "source": "aws.lambda",
        "account": "000000000000",
        "time": f"{BEGINNING}Z",
        "region": "default",
        "resources": [],
        "detail": detail,
    }
    assert ended == {
        **started,
        "id": ended["id"],
        "time": "2023-11-14T22:13:21Z",
        "detail": {**detail, "status": "SUCCEEDED", "endTimestamp": "2023-11-14T22:13:21.234Z"},
    }
    assert started["id"] != ended["id"]


@pytest.mark.parametrize("ending", ["FAILED", "STOPPED", "TIMED_OUT"])
async def test_every_kind_of_end_is_delivered(ending: str) -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        await simulation.history.invocations.register_functions(
            [msgspec.structs.replace(function("order"), execution_timeout_s=60)]
        )
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        if ending == "STOPPED":
            await simulation.history.commands.stop(arn, None)
        elif ending == "FAILED":
            await (await worker.take()).complete("FAILED", error=ErrorObject("no", "Refusal"))
        else:
            await simulation.pass_ms(60_000)
        await settle()
        assert sink.statuses(arn) == ["RUNNING", ending]


async def test_without_a_sink_nothing_is_written() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        await (await worker.take()).complete("SUCCEEDED")
        await settle()
        assert await waiting(simulation) == 0
        # What became of these executions is not told later either.
        simulation.sink = sink = RecordingSink()
        await simulation.restart()
        await settle()
        assert sink.pages == []


async def test_pauses_and_deletions_have_no_event() -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        await simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
        await simulation.history.commands.resume(arn, reason=None)
        await (await worker.take()).complete("SUCCEEDED")
        await simulation.history.commands.delete(arn)
        await simulation.pass_ms(10_000)
        assert simulation.rows() == []
        assert sink.statuses() == ["RUNNING", "SUCCEEDED"]


async def test_children_plain_functions_and_those_of_tenants_are_executions_like_others() -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        await simulation.history.invocations.register_functions(
            [msgspec.structs.replace(function("child"), tenant_isolation=True, durable=False)]
        )
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent = await simulation.start("n")
        child = arn_of(child_identity(parse_arn(parent), "i", "child"))
        invocation = await worker.take()
        await invocation.checkpoint(update("CHAINED_INVOKE", "START", "i", tenant_id="blue"))
        await invocation.complete()
        await (await worker.take()).complete("SUCCEEDED", "1")
        await (await worker.take()).complete("SUCCEEDED", "2")
        await settle()
        assert (await simulation.history.queries.describe(child)).tenant_id == "blue"
        assert sink.statuses(parent) == sink.statuses(child) == ["RUNNING", "SUCCEEDED"]
        assert sink.statuses() == ["RUNNING", "RUNNING", "SUCCEEDED", "SUCCEEDED"]


async def test_a_start_and_an_end_in_one_commit_are_two_events_in_order() -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        link, commit = simulation.host.link, simulation.host.link.commit
        written: list[list[str]] = []

        async def keep(incarnation: int, changes: Sequence[Change], *done: Any) -> Any:
            written.extend([row.status for row in change.status_events] for change in changes)
            return await commit(incarnation, changes, *done)

        inside(link).commit = keep
        link.gate.clear()
        # This one's commit is in flight, so that what comes now shares the next.
        first = asyncio.ensure_future(simulation.start("first"))
        await settle()
        second = asyncio.ensure_future(simulation.start("second"))
        await settle()
        cached = inside(simulation.history)._executions._cache._executions.values()
        (state,) = [each.state for each in cached if each.state.name == "second"]
        stopping = asyncio.ensure_future(
            simulation.history.commands.stop(arn_of(identity_of(state)), None)
        )
        await settle()
        link.gate.set()
        arn = await second
        await asyncio.gather(first, stopping)
        await settle()
        assert written == [["RUNNING"], ["RUNNING", "STOPPED"]]
        assert sink.statuses(arn) == ["RUNNING", "STOPPED"]


def test_a_record_that_starts_and_ends_makes_one_event_of_each() -> None:
    key = ExecutionKey(7, "1" * 32)
    error = ErrorObject("stop", "Stopped")
    started = ExecutionStarted("default", "order", "n", key.execution_id, 60, 14)
    ended = InvocationCompleted("i", 5), ExecutionStopped(error)
    record = Record(5, (started, *ended))
    rows = status_events(key, apply(None, record), record, 1)
    assert [(row.event_id, row.status, row.ended_ms) for row in rows] == [
        (1, "RUNNING", None),
        (3, "STOPPED", 5),
    ]


def test_an_end_by_a_slower_clock_is_ordered_after_its_start_and_keeps_its_time() -> None:
    key = ExecutionKey(7, "1" * 32)
    start = Record(9, (ExecutionStarted("default", "order", "n", key.execution_id, 60, 14),))
    state = apply(None, start)
    end = Record(5, (ExecutionStopped(ErrorObject("stop", "Stopped")),))
    apply(state, end)
    (row,) = status_events(key, state, end, 2)
    assert (row.at_ms, row.started_ms, row.ended_ms) == (9, 9, 5)


async def test_events_that_a_node_left_behind_are_delivered_by_the_next_in_order() -> None:
    sink = RecordingSink()
    sink.fails = True
    async with Simulation(sink=sink) as simulation:
        worker = ManualWorker(simulation)
        arns = [await simulation.start(f"n-{number}") for number in range(3)]
        await (await worker.take()).complete("SUCCEEDED")
        simulation.clock.advance(1)
        await simulation.history.commands.stop(arns[2], None)
        await settle()
        assert (sink.delivered, await waiting(simulation)) == ([], 5)
        await simulation.restart()
        assert value(simulation, "backlog") == 5
        sink.fails = False
        await simulation.pass_ms(BACKOFF_MS_LEAST)
        assert await waiting(simulation) == 0
        ends: list[list[str]] = [["SUCCEEDED"], [], ["STOPPED"]]
        assert [sink.statuses(arn) for arn in arns] == [["RUNNING", *end] for end in ends]
        assert sink.statuses()[-1] == "STOPPED"


async def test_a_crash_between_telling_and_deleting_repeats_the_page_with_the_same_ids() -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        # Its own commit comes first; the second would delete what was delivered.
        simulation.host.crash()
        await settle()
        await simulation.open(cut_at=(1, "after"))
        host = simulation.host
        starting = asyncio.ensure_future(host.call(host.history.commands.start(_request("n"))))
        await settle()
        assert (await asyncio.gather(starting, return_exceptions=True))[0] is not None
        assert sink.delivered == []
        await simulation.open(cut_at=(1, "before"))
        await settle()
        assert sink.statuses() == ["RUNNING"]
        assert simulation.host.is_down
        await simulation.open()
        assert sink.statuses() == ["RUNNING"] * 2
        assert sink.ids()[0] == sink.ids()[1]
        assert await waiting(simulation) == 0


def _request(name: str) -> StartRequest:
    return StartRequest(namespace="default", function="order", name=name)


@pytest.mark.parametrize("fate", ["refused", "unknown_written", "unknown_late", "unknown_lost"])
async def test_a_deletion_that_fails_is_repeated_and_nothing_is_delivered_twice(fate: Fate) -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        simulation.host.link.script("written", fate)
        arn = await simulation.start("n")
        await simulation.pass_ms(BACKOFF_MS_LEAST)
        assert simulation.is_serving()
        assert await waiting(simulation) == 0
        await simulation.history.commands.stop(arn, None)
        await settle()
        assert sink.statuses() == ["RUNNING", "STOPPED"]


async def test_a_sink_that_fails_is_asked_more_and_more_rarely_and_delays_nothing_else() -> None:
    sink = RecordingSink()
    sink.fails = True
    async with Simulation(sink=sink) as simulation:
        arn = await simulation.start("n")
        await settle()
        for backoff_ms in (500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000):
            before = len(sink.pages)
            await simulation.pass_ms(backoff_ms - 1)
            assert len(sink.pages) == before
            await simulation.pass_ms(1)
            assert len(sink.pages) == before + 1
        assert value(simulation, "failures_total") == 9
        # Everything else goes on meanwhile, and asks the sink no sooner.
        await simulation.history.commands.stop(arn, None)
        assert value(simulation, "backlog") == 2
        assert value(simulation, "oldest_age_seconds") == 91.5
        assert len(sink.pages) == 9
        sink.fails = False
        await simulation.pass_ms(BACKOFF_MS_MAX)
        assert sink.statuses(arn) == ["RUNNING", "STOPPED"]
        assert value(simulation, "told_total") == 2
        assert value(simulation, "backlog") == value(simulation, "oldest_age_seconds") == 0
        # It is trusted again: the next failure waits no longer than the first.
        sink.fails = True
        again = await simulation.start("again")
        await settle()
        sink.fails = False
        await simulation.pass_ms(BACKOFF_MS_LEAST)
        assert sink.statuses(again) == ["RUNNING"]
        await simulation.history.commands.stop(again, None)


async def test_a_long_backlog_is_delivered_page_by_page_and_counted_whole() -> None:
    sink = RecordingSink()
    sink.fails = True
    async with Simulation(sink=sink) as simulation:
        for number in range(2 * PAGE_MAX + 1):
            await simulation.start(f"n-{number}")
        # A new node knows nothing of them but what it reads, and holds no more than a page.
        simulation.metrics = ServerMetrics()
        await simulation.restart()
        assert value(simulation, "backlog") == 2 * PAGE_MAX + 1
        sink.fails = False
        del sink.pages[:]
        await simulation.pass_ms(BACKOFF_MS_LEAST)
        assert sink.pages == [PAGE_MAX, PAGE_MAX, 1]
        assert len(set(sink.ids())) == 2 * PAGE_MAX + 1
        assert value(simulation, "backlog") == await waiting(simulation) == 0


async def test_a_node_that_was_replaced_delivers_nothing() -> None:
    sink = RecordingSink()
    sink.fails = True
    async with Simulation(sink=sink) as simulation:
        await simulation.start("n")
        now_ms = simulation.clock.now_ms()
        await simulation.memory.join("alpha", "elsewhere:1", now_ms=now_ms, lease_ms=100_000)
        await simulation.pass_ms(10_000)
        assert not simulation.is_serving()
        sink.fails = False
        del sink.pages[:]
        await simulation.pass_ms(BACKOFF_MS_MAX)
        assert sink.pages == []
        assert await waiting(simulation) == 1


async def test_a_node_that_is_replaced_before_it_can_delete_leaves_the_page_and_is_silent() -> None:
    sink = RecordingSink()
    sink.gate.clear()
    async with Simulation(sink=sink) as simulation:
        await simulation.start("n")
        await settle()
        now_ms = simulation.clock.now_ms()
        await simulation.memory.join("alpha", "elsewhere:1", now_ms=now_ms, lease_ms=100_000)
        sink.gate.set()
        await settle()
        assert not simulation.is_serving()
        with capture_logs() as logs:
            await simulation.pass_ms(2 * BACKOFF_MS_MAX)
        assert [line for line in logs if "status-change" in line["event"]] == []
        assert (sink.statuses(), await waiting(simulation)) == (["RUNNING"], 1)


async def test_a_node_that_is_replaced_while_it_reads_tells_nothing_of_what_it_read() -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        link, read = simulation.host.link, simulation.host.link.status_events

        async def replaced_meanwhile(*, limit: int) -> list[StatusEventRow]:
            rows = await read(limit=limit)
            inside(simulation.history)._executions.on_fenced(Fenced("another node has taken over"))
            return rows

        inside(link).status_events = replaced_meanwhile
        await simulation.start("n")
        await settle()
        assert (sink.pages, await waiting(simulation)) == ([], 1)


async def test_events_are_delivered_after_their_execution_was_swept() -> None:
    sink = RecordingSink()
    sink.fails = True
    async with Simulation(sink=sink) as simulation:
        arn = await simulation.start("n")
        await simulation.history.commands.stop(arn, None)
        await simulation.history.commands.delete(arn)
        await simulation.pass_ms(10_000)
        assert simulation.rows() == []
        sink.fails = False
        await simulation.pass_ms(BACKOFF_MS_MAX)
        assert sink.statuses(arn) == ["RUNNING", "STOPPED"]


@pytest.mark.parametrize("when", ["taken", "refused"])
async def test_a_node_that_stops_finishes_the_page_under_way(
    when: Literal["taken", "refused"],
) -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        sink.gate.clear()
        await simulation.start("n")
        await settle()
        sink.fails = when == "refused"
        closing = asyncio.ensure_future(simulation.history.close())
        await settle()
        assert not closing.done()
        sink.gate.set()
        await closing
        assert await waiting(simulation) == (0 if when == "taken" else 1)
        sink.fails = False
        await simulation.restart()
        assert sink.statuses() == ["RUNNING"]
