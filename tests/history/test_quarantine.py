"""Quarantine: what cannot be read is set aside with its reason, and everything else goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from perdure_core.events import decode_record
from perdure_core.refusals import NotEnded, Quarantined, Unknown
from perdure_history.executions import Executions
from perdure_host.ports import ExecutionKey, OutboxRow, RecordRow
from perdure_host.services import StartRequest, key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, child_of, update
from tests.history.recording_sink import RecordingSink
from tests.history.simulation import Simulation, inside

Damage = Callable[[list[RecordRow]], list[RecordRow]]


def replaced(number: int, **facts: Any) -> Damage:
    """Return the damage that gives one record other columns."""

    def damage(records: list[RecordRow]) -> list[RecordRow]:
        changed = msgspec.structs.replace(records[number], **facts)
        return [*records[:number], changed, *records[number:][1:]]

    return damage


# An event of a later release, which this one does not know.
LATER = msgspec.msgpack.encode([1_000, [[9_999, 1]]])

DAMAGES: dict[str, tuple[Damage, str]] = {
    "flipped bytes": (replaced(1, body=b"\xc1\xff\x00"), "record 2 cannot be read"),
    "cut bytes": (replaced(0, body=b"\x92\xcf"), "record 1 cannot be read"),
    "an event of a later release": (replaced(1, body=LATER), "Invalid value 9999"),
    "a number that does not follow": (
        lambda records: [*records, msgspec.structs.replace(records[-1], sequence=9)],
        "is missing",
    ),
    "a gap": (lambda records: records[:1], "sequence"),
    "no records": (lambda _: [], "no records"),
    "another number of events": (replaced(0, event_count=5), "record 1 has other numbers"),
}


def records_of(simulation: Simulation) -> dict[ExecutionKey, list[RecordRow]]:
    records: dict[ExecutionKey, list[RecordRow]] = inside(simulation.memory)._records
    return records


def executions_of(simulation: Simulation) -> Executions:
    executions: Executions = inside(simulation.history)._executions
    return executions


def gauge(simulation: Simulation, kind: str) -> float | None:
    return simulation.metrics.registry.get_sample_value("perdure_quarantined", {"kind": kind})


async def taken(simulation: Simulation, worker: ManualWorker) -> list[str]:
    """Begin what was delivered; return the ARNs of what could be handed out."""
    await settle()
    tasks, worker.tasks = worker.tasks, []
    begin = simulation.history.invocations.begin
    offers = [await begin(task.key, worker.worker_id) for task in tasks]
    return [offer.arn for offer in offers if offer is not None]


@pytest.mark.parametrize("what", list(DAMAGES))
async def test_an_execution_that_cannot_be_read_is_set_aside_alone(what: str) -> None:
    damage, reason = DAMAGES[what]
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        bad, good = [await simulation.start(name) for name in ("bad", "good")]
        for invocation in (await worker.take(), await worker.take()):
            await invocation.checkpoint(update("WAIT", "START", "w", wait_ms=60_000))
            await invocation.complete()
        records, key = records_of(simulation), key_of(bad)
        whole = records[key]
        simulation.host.crash()
        await settle()
        records[key] = damage(whole)
        await simulation.open()
        worker.attach(9)
        calls: tuple[Awaitable[object], ...] = (
            simulation.history.queries.describe(bad),
            simulation.history.queries.wait_ended(bad, 1_000),
            simulation.history.commands.stop(bad, None),
            simulation.history.commands.pause(bad, reason=None, timeout_paused=True),
        )
        for call in calls:
            with pytest.raises(Quarantined, match=reason):
                await call
        assert gauge(simulation, "execution") == 1
        quarantined = await simulation.history.queries.quarantined(bad)
        assert quarantined is not None
        assert reason in quarantined.reason
        assert quarantined.row.key == key
        assert simulation.history.queries.quarantine_reason(key) == quarantined.reason
        assert simulation.history.queries.quarantine_reason(key_of(good)) is None
        # Both timers are due, and nothing but the good one moves.
        await simulation.pass_ms(61_000)
        assert await taken(simulation, worker) == [good]
        await simulation.history.commands.stop(good, None)
        assert not simulation.history.fatal.done()
        # What was repaired goes on when a node starts over it.
        records[key] = whole
        await simulation.restart()
        assert (await simulation.history.queries.describe(bad)).status == "RUNNING"
        assert gauge(simulation, "execution") == 0
        # What the scanner found is no surprise to the end of the simulation.
        inside(simulation.metrics)._invariant_violations.clear()
        await simulation.history.commands.stop(bad, None)


async def test_what_is_set_aside_is_logged_once_and_counted_by_every_scan(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        key, records = key_of(arn), records_of(simulation)
        whole = records[key]
        await simulation.restart()
        records[key] = replaced(0, body=b"\xc1")(whole)
        worker = ManualWorker(simulation)
        await simulation.pass_ms(3_000)
        assert await taken(simulation, worker) == []
        await simulation.pass_ms(70_000)
        assert await taken(simulation, worker) == []
        lines = [line for line in capsys.readouterr().out.splitlines() if key.execution_id in line]
        assert len(lines) == 1
        assert "quarantined" in lines[0]
        violations = simulation.metrics.registry.get_sample_value
        rules = {"rule": "quarantined"}
        assert (violations("perdure_invariant_violations_total", rules) or 0) >= 1
        records[key] = whole
        executions_of(simulation).quarantine.release(key)
        # Counted from here: the simulation ends with a look at what the scanner found.
        inside(simulation.metrics)._invariant_violations.clear()
        await simulation.history.commands.stop(arn, None)


async def test_who_waits_for_an_execution_hears_that_it_was_set_aside() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        waiting = asyncio.ensure_future(simulation.history.queries.wait_ended(arn, 60_000))
        await settle()
        executions_of(simulation).quarantine.set_aside(key_of(arn), "a test says so")
        with pytest.raises(Quarantined, match="a test says so"):
            await waiting
        executions_of(simulation).quarantine.release(key_of(arn))
        await simulation.history.commands.stop(arn, None)


async def test_a_worker_is_told_that_its_execution_was_set_aside() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        lost: list[tuple[str, str]] = []
        simulation.history.invocations.watch_lost(
            lambda worker, which: lost.append((worker, which))
        )
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        executions_of(simulation).quarantine.set_aside(key_of(arn), "a test says so")
        assert lost == [(worker.worker_id, invocation.id)]
        with pytest.raises(Quarantined):
            await invocation.step("b")
        claimed = await simulation.history.invocations.claim([invocation.token], "w")
        assert claimed == (invocation.token,)
        executions_of(simulation).quarantine.release(key_of(arn))
        await simulation.history.commands.stop(arn, None)


async def test_a_state_that_makes_the_code_fail_is_set_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        bad, good = [await simulation.start(name) for name in ("bad", "good")]
        for invocation in (await worker.take(), await worker.take()):
            await invocation.checkpoint(update("WAIT", "START", "w", wait_ms=1_000))
            await invocation.complete()
        state = await simulation.history.queries.describe(bad)
        operations = dict(state.operations)
        state.operations.clear()
        await simulation.pass_ms(2_000)
        with pytest.raises(Quarantined, match="KeyError"):
            await simulation.history.queries.describe(bad)
        assert (await worker.take()).offer.arn == good
        assert operations
        executions_of(simulation).quarantine.release(key_of(bad))
        inside(simulation.metrics)._invariant_violations.clear()
        for arn in (bad, good):
            await simulation.history.commands.stop(arn, None)


async def test_an_event_that_the_rules_refuse_is_one_executions_trouble() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        await invocation.step("b")
        key, records = key_of(arn), records_of(simulation)
        whole = records[key]
        # The end of "a" comes once more, where that of "b" was.
        swapped = msgspec.structs.replace(whole[2], body=whole[1].body)
        await simulation.restart()
        records[key] = [*whole[:2], swapped]
        with pytest.raises(Quarantined, match="record 3 cannot be read"):
            await simulation.history.queries.describe(arn)
        records[key] = whole
        executions_of(simulation).quarantine.release(key)
        await simulation.history.commands.stop(arn, None)


async def test_a_page_of_history_ends_before_what_cannot_be_read() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        await (await worker.take()).step("a")
        key, records = key_of(arn), records_of(simulation)
        whole = records[key]
        records[key] = replaced(1, body=b"\xc1")(whole)
        queries = simulation.history.queries
        assert len(await queries.page(arn, after_event_id=0, limit=1)) == 1
        with pytest.raises(Quarantined, match="record 2"):
            await queries.page(arn, after_event_id=1, limit=9)
        records[key] = whole
        executions_of(simulation).quarantine.release(key)
        await simulation.history.commands.stop(arn, None)


@pytest.mark.parametrize("body", [b"damaged", None])
async def test_a_damaged_payload_sets_its_execution_aside(body: bytes | None) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n", input='"%s"' % ("x" * 20_000))
        await simulation.restart()
        worker.attach(9)
        key = key_of(arn)
        payloads = inside(simulation.memory)._payloads
        whole = dict(payloads[key])
        (digest,) = whole
        payloads[key] = {} if body is None else {digest: body}
        await simulation.pass_ms(3_000)
        assert await taken(simulation, worker) == []
        with pytest.raises(Quarantined, match="payload"):
            await simulation.history.commands.stop(arn, None)
        payloads[key] = whole
        executions_of(simulation).quarantine.release(key)
        inside(simulation.metrics)._invariant_violations.clear()
        await simulation.history.commands.stop(arn, None)


async def test_a_delivery_that_cannot_be_read_holds_up_no_other() -> None:
    async with Simulation() as simulation:
        outbox = inside(simulation.memory)._outbox
        # More of them than a page holds, and all before the one that matters.
        damaged = [OutboxRow(0, f"{0:032x}-{number}", b"\xc1") for number in range(250)]
        outbox.update(((row.bucket, row.outbox_id), row) for row in damaged)
        await simulation.restart()
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent = await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("CHAINED_INVOKE", "START", "i"))
        await settle()
        assert (await worker.take()).offer.arn == child_of(parent)
        assert gauge(simulation, "outbox") == 250
        assert set(outbox) == {(row.bucket, row.outbox_id) for row in damaged}
        assert not simulation.history.fatal.done()
        outbox.clear()
        await simulation.restart()
        inside(simulation.metrics)._invariant_violations.clear()
        for arn in (parent, child_of(parent)):
            await simulation.history.commands.stop(arn, None)


async def test_the_end_of_a_child_waits_for_a_parent_that_is_set_aside() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent = await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("CHAINED_INVOKE", "START", "i"))
        await settle()
        executions_of(simulation).quarantine.set_aside(key_of(parent), "a test says so")
        await simulation.history.commands.stop(child_of(parent), None)
        await settle()
        assert len(inside(simulation.memory)._outbox) == 1
        await simulation.restart()
        await simulation.pass_ms(3_000)
        assert inside(simulation.memory)._outbox == {}
        assert simulation.events(key_of(parent)).count("ChainedInvokeStopped") == 1
        await simulation.history.commands.stop(parent, None)


async def test_a_status_event_that_makes_no_event_holds_up_no_other() -> None:
    sink = RecordingSink()
    async with Simulation(sink=sink) as simulation:
        sink.fails = True
        bad, good = [await simulation.start(name) for name in ("bad", "good")]
        rows = inside(simulation.memory)._status_events
        place = next(place for place in rows if place[0] == key_of(bad))
        whole = rows[place]
        rows[place] = msgspec.structs.replace(whole, started_ms=2**60)
        sink.recover()
        await simulation.pass_ms(30_000)
        assert sink.statuses() == ["RUNNING"]
        assert sink.statuses(good) == ["RUNNING"]
        assert gauge(simulation, "status_event") == 1
        assert list(rows) == [place]
        rows[place] = whole
        await simulation.restart()
        await simulation.pass_ms(3_000)
        assert sink.statuses(bad) == ["RUNNING"]
        inside(simulation.metrics)._invariant_violations.clear()
        for arn in (bad, good):
            await simulation.history.commands.stop(arn, None)


async def test_a_start_of_a_name_that_is_set_aside_is_answered_by_its_row() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        executions_of(simulation).quarantine.set_aside(key_of(arn), "a test says so")
        request = StartRequest(namespace="default", function="order", name="n")
        assert (await simulation.history.commands.start(request)).arn == arn
        executions_of(simulation).quarantine.release(key_of(arn))
        with pytest.raises(NotEnded):
            await simulation.history.commands.delete(arn)
        await simulation.history.commands.stop(arn, None)


async def test_an_execution_that_was_repaired_goes_on_when_it_is_resumed() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(
            update("WAIT", "START", "w", wait_ms=1_000), update("CHAINED_INVOKE", "START", "i")
        )
        await invocation.complete()
        await settle()
        key, records = key_of(arn), records_of(simulation)
        whole = records[key]
        executions_of(simulation).quarantine.set_aside(key, "a test says so")
        await simulation.history.commands.stop(child_of(arn), None)
        await simulation.pass_ms(2_000)
        records[key] = replaced(1, body=b"\xc1")(whole)
        with pytest.raises(Quarantined, match="record 2 cannot be read"):
            await simulation.history.commands.resume(arn, reason=None)
        records[key] = whole
        assert await simulation.history.commands.resume(arn, reason=None) == "RUNNING"
        await simulation.pass_ms(1_000)
        names = simulation.events(key)
        assert (names.count("WaitSucceeded"), names.count("ChainedInvokeStopped")) == (1, 1)
        assert arn in await taken(simulation, worker)
        await simulation.history.commands.stop(arn, None)


async def test_an_execution_that_cannot_be_read_can_be_deleted() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        key, records = key_of(arn), records_of(simulation)
        await simulation.restart()
        records[key] = replaced(0, body=b"\xc1")(records[key])
        await simulation.history.commands.delete(arn)
        assert simulation.rows() == []
        assert gauge(simulation, "execution") == 0
        with pytest.raises(Unknown):
            await simulation.history.queries.describe(arn)
        await simulation.history.commands.stop(await simulation.start("n"), None)


@pytest.mark.parametrize("is_whole", [True, False])
async def test_the_parent_of_a_child_that_is_deleted_unread_is_told(is_whole: bool) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent = await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("CHAINED_INVOKE", "START", "i"))
        await settle()
        child = child_of(parent)
        key, records = key_of(child), records_of(simulation)
        await (await worker.take()).step("a")
        await simulation.restart()
        damaged = replaced(1 if is_whole else 0, body=b"\xc1")
        records[key] = damaged(records[key])
        await simulation.history.commands.delete(child)
        await settle()
        events = simulation.events(key_of(parent))
        assert events.count("ChainedInvokeFailed") == is_whole
        if is_whole:
            operation = (await simulation.history.queries.describe(parent)).operations["i"]
            assert "was deleted because" in str(operation)
        assert inside(simulation.memory)._outbox == {}
        await simulation.history.commands.stop(parent, None)


def test_the_event_of_a_later_release_is_unknown_to_this_one() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_record(LATER)
