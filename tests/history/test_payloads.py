"""Large payloads: written once beside the history, read only on request, never lost."""

import json
from typing import Any

import pytest

from perdure_core.large_payloads import reference_in, references_in
from perdure_core.limits import PAYLOAD_INLINE_BYTES_MAX
from perdure_core.model import CallbackDetails, ExecutionDetails, StepDetails
from perdure_core.payload import stored
from perdure_core.refusals import Quarantined, Unknown
from perdure_history.payloads import CACHED_BYTES_MAX, HASHED_CHARS_MAX, Payloads
from perdure_history.settings import HistorySettings
from perdure_host.memory_store import MemoryStore
from perdure_host.ports import ExecutionKey, OutboxRow, PayloadRow
from perdure_host.services import key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, child_of, update
from tests.history.simulation import Simulation, inside

LARGE = json.dumps("large" * 10_000)
REFERENCE = stored(LARGE.encode())
# A page of a replay has room for one such, and not for two.
HUGE = json.dumps("h" * 3_000_000)


def stored_payloads(simulation: Simulation) -> dict[str, list[bytes]]:
    """Return the payloads in the database, by the function that they belong to."""
    memory = inside(simulation.memory)
    return {
        memory._rows[key].function: list(bodies.values())
        for key, bodies in memory._payloads.items()
    }


def forget(_rows: tuple[OutboxRow, ...]) -> None:
    """Send nothing."""


async def test_a_large_text_stands_once_beside_the_records_that_name_it() -> None:
    """A callback's result, returned by a context and by the handler, are one row."""
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n", input=LARGE)
        invocation = await worker.take()
        answer = await invocation.checkpoint(
            update("CONTEXT", "START", "c"), update("CALLBACK", "START", "cb", parent_id="c")
        )
        details = answer.operations[1].details
        assert isinstance(details, CallbackDetails)
        await simulation.history.commands.succeed_callback(details.callback_id, LARGE)
        await invocation.checkpoint(update("CONTEXT", "SUCCEED", "c", payload=LARGE))
        await invocation.complete("SUCCEEDED", LARGE)
        assert stored_payloads(simulation) == {"order": [LARGE.encode()]}
        records = inside(simulation.memory)._records[key_of(arn)]
        assert all(len(record.body) < 500 for record in records)
        state = await simulation.history.queries.describe(arn)
        assert (state.input, state.result) == (REFERENCE, REFERENCE)
        texts = await simulation.history.queries.texts(key_of(arn), [REFERENCE])
        assert texts == {REFERENCE: LARGE}


@pytest.mark.parametrize("size", [HASHED_CHARS_MAX, HASHED_CHARS_MAX + 1])
async def test_what_a_thread_hashes_is_recorded_like_what_the_loop_hashes(size: int) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        of_step, of_execution = ("x" * size, "y" * size)
        await invocation.step("a", of_step)
        await invocation.complete("SUCCEEDED", of_execution)
        assert stored_payloads(simulation) == {"order": [of_step.encode(), of_execution.encode()]}
        assert (await simulation.history.queries.describe(arn)).result == stored(
            of_execution.encode()
        )


async def test_a_replay_gets_its_texts_also_after_a_restart() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n", input=LARGE)
        invocation = await worker.take()
        assert invocation.offer.page.operations[0].details == ExecutionDetails(LARGE)
        await invocation.step("a", LARGE + " ")
        await invocation.checkpoint(update("WAIT", "START", "w"))
        await invocation.complete()
        simulation.host.crash()
        await simulation.open()
        worker = ManualWorker(simulation, "second")
        await simulation.pass_ms(5_000)
        again = await worker.take()
        page = again.offer.page
        assert references_in(page.operations) == []
        step = page.operations[1].details
        assert isinstance(step, StepDetails)
        assert step.result == LARGE + " "
        assert key_of(arn) == page.key


async def test_what_is_huge_is_not_handed_out_unasked_and_has_a_page_alone() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n", input=HUGE + HUGE[:1_500_000])
        invocation = await worker.take()
        page = invocation.offer.page
        assert (page.operations, page.next_marker != "") == ((), True)
        sizes: list[int] = []
        await invocation.step("a", HUGE)
        await invocation.step("b", HUGE)
        marker = page.next_marker
        while marker:
            page = await simulation.history.invocations.state_page(invocation.token, marker, 0)
            sizes.append(len(page.operations))
            assert len(references_in(page.operations)) == len(page.operations)
            marker = page.next_marker
        assert sizes == [1, 1, 1]


async def test_a_page_of_history_and_a_view_load_no_payload() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n", input=LARGE)
        invocation = await worker.take()
        await invocation.step("a", LARGE + " ")
        await invocation.complete("SUCCEEDED", LARGE)
        # Decoding this would fail.
        inside(simulation.memory)._payloads.clear()
        simulation.host.crash()
        await simulation.open()
        state = await simulation.history.queries.describe(arn)
        assert state.result == REFERENCE
        events = await simulation.history.queries.page(arn, after_event_id=0, limit=100)
        assert sum(reference_in(each.event) is not None for each in events) == 3
        with pytest.raises(Quarantined, match="a payload of it is missing"):
            await simulation.history.queries.texts(key_of(arn), [REFERENCE])
        # It is in the memory of the simulation alone that the execution lost it.
        inside(simulation.history)._executions.quarantine.release(key_of(arn))


async def test_parents_and_children_hand_large_texts_to_each_other() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent = await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("CHAINED_INVOKE", "START", "i", payload=LARGE))
        await invocation.complete()
        await settle()
        assert all(len(row.body) < 500 for row in inside(simulation.memory)._outbox.values())
        child = await worker.take()
        assert child.offer.page.operations[0].details == ExecutionDetails(LARGE)
        await child.complete("SUCCEEDED", LARGE + " ")
        await settle()
        assert inside(simulation.memory)._outbox == {}
        again = await worker.take()
        result: Any = again.offer.page.operations[1].details
        assert result.result == LARGE + " "
        assert stored_payloads(simulation) == {
            "order": [LARGE.encode(), LARGE.encode() + b" "],
            "child": [LARGE.encode(), LARGE.encode() + b" "],
        }
        assert (await simulation.history.queries.describe(child_of(parent))).status == "SUCCEEDED"


async def test_a_child_that_is_deleted_at_once_still_reports_its_result() -> None:
    """Its payload is part of a delivery; a sweep must not be faster than that."""
    async with Simulation() as simulation:
        worker = ManualWorker(simulation, functions=("order", "child"))
        parent = await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("CHAINED_INVOKE", "START", "i"))
        await invocation.complete()
        await settle()
        child = await worker.take()
        # The node dies before it sends.
        inside(simulation.history)._executions.on_outbox = forget
        await child.complete("SUCCEEDED", LARGE)
        await simulation.history.commands.delete(child_of(parent))
        await simulation.pass_ms(10_000)
        assert [row.function for row in simulation.rows()] == ["order"]
        simulation.host.crash()
        await simulation.open()
        worker = ManualWorker(simulation, "second", functions=("order", "child"))
        await simulation.pass_ms(20_000)
        again = await worker.take()
        result: Any = again.offer.page.operations[1].details
        assert result.result == LARGE
        await simulation.pass_ms(10_000)
        assert [key.execution_id for key in inside(simulation.memory)._payloads] == [
            key_of(parent).execution_id
        ]


async def test_a_deleted_execution_leaves_no_payload() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n", input=LARGE)
        await (await worker.take()).complete("SUCCEEDED", LARGE + " ")
        await simulation.history.commands.delete(arn)
        await simulation.pass_ms(10_000)
        assert inside(simulation.memory)._payloads == {}


async def test_a_commit_that_was_lost_leaves_neither_record_nor_payload() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        invocation = await worker.take()
        call = (update("STEP", "SUCCEED", "a", payload=LARGE),)
        simulation.host.link.script("unknown_lost")
        with pytest.raises(Exception):  # noqa: B017, PT011 - whichever error it is
            await simulation.history.invocations.checkpoint(invocation.token, "call", call)
        await settle()
        assert inside(simulation.memory)._payloads == {}
        await simulation.pass_ms(2_000)
        await simulation.history.invocations.checkpoint(invocation.token, "call", call)
        assert stored_payloads(simulation) == {"order": [LARGE.encode()]}


async def test_large_results_do_not_grow_the_cache_of_states() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        for number in range(20):
            await invocation.step(f"s{number}", json.dumps("x" * 500_000 + str(number)))
        execution = inside(simulation.history)._executions._cache.get(key_of(arn))
        assert execution.size_bytes < 20_000


def refused(key: ExecutionKey, reason: str) -> Quarantined:
    """Return what a caller is told whose execution is set aside."""
    return Quarantined(f"{key.execution_id}: {reason}")


class TestWhatIsRemembered:
    """The texts in memory."""

    async def test_it_is_bounded_and_forgetting_loses_nothing(self) -> None:
        store = MemoryStore()
        key = ExecutionKey(1, "0" * 32)
        bodies = [bytes([65 + number]) * 1_000 for number in range(10)]
        rows = [PayloadRow(stored(body).digest, body) for body in bodies]
        inside(store)._payloads[key] = {row.digest: row.body for row in rows}
        payloads = Payloads(store, 3_000, refused)
        payloads.remember(key, rows)
        assert len(payloads) == 3_000
        for body in bodies:
            texts = await payloads.texts(key, [stored(body)])
            assert texts == {stored(body): body.decode()}
            assert len(payloads) <= 3_000

    async def test_what_is_huge_is_read_each_time(self) -> None:
        payloads = Payloads(MemoryStore(), 2**30, refused)
        key = ExecutionKey(1, "0" * 32)
        for size, remembered in ((CACHED_BYTES_MAX, True), (CACHED_BYTES_MAX + 1, False)):
            before = len(payloads)
            body = b"x" * size
            payloads.remember(key, [PayloadRow(stored(body).digest, body)])
            assert (len(payloads) > before) is remembered

    async def test_the_newest_read_stays_and_the_oldest_goes(self) -> None:
        key = ExecutionKey(1, "0" * 32)
        payloads = Payloads(MemoryStore(), 2_000, refused)
        a, b, c = (bytes([65 + number]) * 1_000 for number in range(3))
        for body in (a, b):
            payloads.remember(key, [PayloadRow(stored(body).digest, body)])
        await payloads.texts(key, [stored(a)])
        payloads.remember(key, [PayloadRow(stored(c).digest, c)])
        assert await payloads.texts(key, [stored(a), stored(c)])
        with pytest.raises(Unknown):
            await payloads.texts(key, [stored(b)])


def test_the_settings_bound_what_is_remembered() -> None:
    assert HistorySettings().cache_payload_bytes_max > CACHED_BYTES_MAX
    assert len(LARGE) > PAYLOAD_INLINE_BYTES_MAX
