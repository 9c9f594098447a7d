"""Invocations in workers: claims after a crash, broken streams, heartbeats, handing back."""

import asyncio

import msgspec
import pytest

from perdure_core.events import InvocationCompleted
from perdure_core.model import ErrorObject
from perdure_core.refusals import Invalid, StaleToken
from perdure_history.settings import HistorySettings
from perdure_host.errors import StoreUnavailable
from perdure_host.services import key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker, update
from tests.history.simulation import Simulation, function, inside


def errors(simulation: Simulation, arn: str) -> list[str | None]:
    """Return how each invocation of the execution ended: None when in order."""
    return [
        None if event.error is None else event.error.type
        for record in simulation.records(key_of(arn))
        for event in record.events
        if isinstance(event, InvocationCompleted)
    ]


async def test_an_invocation_is_handed_out_once() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        commits = simulation.host.link.commits
        await worker.take()
        assert await worker.begin_for(arn) is None
        assert simulation.host.link.commits == commits


async def test_beginning_what_was_never_there_begins_nothing() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        nowhere = arn[:-4] + "ffff"
        assert await worker.begin_for(nowhere) is None


async def test_an_offer_says_whether_anything_ran_before_and_what_changed() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        first = await worker.take()
        await first.checkpoint(update("WAIT", "START", "w"))
        await first.complete()
        await simulation.pass_ms(1_000)
        second = await worker.take()
        assert (first.offer.first, second.offer.first) == (True, False)
        assert second.offer.updated_operation_ids == ("w",)
        assert [operation.status for operation in second.offer.page.operations] == [
            "STARTED",
            "SUCCEEDED",
        ]


async def test_what_was_offered_does_not_change_under_the_worker() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        first = await worker.take()
        await first.checkpoint(update("CALLBACK", "START", "c"), update("WAIT", "START", "w"))
        await first.complete()
        await simulation.pass_ms(1_000)
        second = await worker.take()
        state = await simulation.history.queries.describe(arn)
        await simulation.history.commands.succeed_callback(
            inside(state.operations["c"].details).callback_id, "1"
        )
        statuses = {operation.id: operation.status for operation in second.offer.page.operations}
        assert statuses["c"] == "STARTED"


async def test_state_comes_in_pages() -> None:
    async with Simulation(HistorySettings(state_page_operations=2)) as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        first = await worker.take()
        for name in "abcd":
            await first.step(name)
        await simulation.history.invocations.hand_back([first.token])
        second = await worker.take()
        ids = [operation.id for operation in second.offer.page.operations]
        page = second.offer.page
        while page.next_marker:
            page = await simulation.history.invocations.state_page(
                second.token, page.next_marker, 2
            )
            ids += [operation.id for operation in page.operations]
        assert ids[1:] == ["a", "b", "c", "d"]
        with pytest.raises(StaleToken):
            await simulation.history.invocations.state_page(first.token, "", 2)
        with pytest.raises(Invalid):
            await simulation.history.invocations.state_page(second.token, "junk", 2)


async def test_a_page_misses_nothing_when_a_context_ended_since_the_last() -> None:
    async with Simulation(HistorySettings(state_page_operations=3)) as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        invocation = await worker.take()
        await invocation.checkpoint(update("CONTEXT", "START", "c"))
        for name in "ab":
            await invocation.checkpoint(
                update("STEP", "START", name, parent_id="c"),
                update("STEP", "SUCCEED", name, parent_id="c", payload='"done"'),
            )
        for name in "de":
            await invocation.step(name)
        await simulation.history.invocations.hand_back([invocation.token])
        invocation = await worker.take()
        page = invocation.offer.page
        assert [operation.id for operation in page.operations[1:]] == ["c", "a"]
        await invocation.checkpoint(update("CONTEXT", "SUCCEED", "c", payload='"done"'))
        page = await simulation.history.invocations.state_page(
            invocation.token, page.next_marker, 3
        )
        assert [operation.id for operation in page.operations] == ["d", "e"]


# After the node crashed.


async def test_a_claimed_invocation_goes_on_at_the_next_node() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        await simulation.restart()
        assert await worker.claim(invocation)
        worker.attach()
        await simulation.pass_ms(5_000)
        assert await worker.is_idle()
        await invocation.step("b")
        await invocation.complete("SUCCEEDED")
        assert errors(simulation, arn) == [None]


async def test_a_claim_is_good_when_only_the_answer_to_its_checkpoint_was_lost() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        token = invocation.token
        answer = await simulation.history.invocations.checkpoint(
            token, "lost", (update("STEP", "START", "b"),)
        )
        await simulation.restart()
        assert await simulation.history.invocations.claim([token], "worker-1") == ()
        again = await simulation.history.invocations.checkpoint(
            token, "lost", (update("STEP", "START", "b"),)
        )
        assert again.token == answer.token
        invocation.token = again.token
        await invocation.complete("SUCCEEDED")
        assert errors(simulation, arn) == [None]


async def test_an_unclaimed_invocation_is_lost_once_the_time_for_claims_is_over() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        await simulation.restart()
        worker.attach()
        await simulation.pass_ms(simulation.settings.claim_wait_ms - 1)
        assert await worker.is_idle()
        await simulation.pass_ms(1)
        assert await worker.begin_for(arn) is None
        assert errors(simulation, arn) == ["Runtime.ExitError"]
        with pytest.raises(StaleToken):
            await invocation.step("b")
        worker.tasks.clear()
        second = await worker.begin_for(arn)
        assert second is not None
        await second.complete("SUCCEEDED")


async def test_what_was_handed_out_and_never_heard_of_is_offered_after_the_time_for_claims() -> (
    None
):
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        first = await worker.take()
        await first.checkpoint(update("CALLBACK", "START", "c"), update("WAIT", "START", "w"))
        await first.complete()
        await simulation.pass_ms(1_000)
        second = await worker.take()
        callback_id = inside(
            (await simulation.history.queries.describe(arn)).operations["c"].details
        ).callback_id
        await simulation.restart()
        worker.attach()
        await simulation.history.commands.succeed_callback(callback_id, "1")
        await simulation.pass_ms(simulation.settings.claim_wait_ms - 1)
        assert await worker.is_idle()
        await simulation.pass_ms(1)
        assert (await worker.take()).id != second.id
        assert errors(simulation, arn) == [None]


async def test_what_wants_a_worker_only_since_the_restart_is_offered_at_once() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        first = await worker.take()
        await first.checkpoint(update("WAIT", "START", "w"))
        await first.complete()
        await simulation.restart()
        worker.attach()
        await simulation.pass_ms(1_000)
        assert not await worker.is_idle()


async def test_a_checkpoint_without_a_claim_adopts_the_invocation() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        await simulation.restart()
        await invocation.step("b")
        await simulation.pass_ms(5_000)
        assert await worker.begin_for(arn) is None
        assert await worker.heartbeat(invocation) == ()
        assert [
            running.worker_id for running in inside(simulation.history)._executions.running
        ] == ["worker-1"]


async def test_a_claim_of_a_passed_turn_is_refused() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start("n")
        first = await worker.take()
        old = first.token
        await simulation.history.invocations.hand_back([first.token])
        second = await worker.take()
        invocations = simulation.history.invocations
        assert await invocations.claim([old], "worker-1") == (old,)
        await second.step("a")
        assert await invocations.claim([old, second.token], "worker-1") == (old,)
        assert await invocations.claim(["junk", second.token], "worker-1") == ("junk",)


async def test_a_claim_does_not_take_what_another_worker_was_handed() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        first = await worker.take()
        await simulation.restart()
        worker.attach()
        await simulation.pass_ms(2_000)
        worker.tasks.clear()
        second = await worker.begin_for(arn)
        assert second is not None
        assert not await worker.claim(first)
        await second.step("a")


# While the node lives.


async def test_a_broken_stream_loses_what_is_not_claimed_in_time() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        losing = asyncio.ensure_future(simulation.history.invocations.worker_lost("worker-1"))
        await simulation.pass_ms(simulation.settings.reconnect_wait_ms - 1)
        assert errors(simulation, arn) == []
        await simulation.pass_ms(1)
        await losing
        assert errors(simulation, arn) == ["Runtime.ExitError"]
        assert (await worker.take()).id != invocation.id


async def test_a_claim_in_the_very_moment_of_the_loss_counts() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        losing = asyncio.ensure_future(simulation.history.invocations.worker_lost("worker-1"))
        await asyncio.sleep(0)
        assert await worker.claim(invocation)
        await simulation.pass_ms(5_000)
        await losing
        assert errors(simulation, arn) == []
        await invocation.step("b")


async def test_a_loss_that_cannot_be_recorded_is_recorded_later() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        await (await worker.take()).step("a")
        simulation.host.link.script("refused")
        losing = asyncio.ensure_future(simulation.history.invocations.worker_lost("worker-1"))
        await simulation.pass_ms(1_000)
        with pytest.raises(StoreUnavailable):
            await losing
        again = asyncio.ensure_future(simulation.history.invocations.worker_lost("worker-1"))
        await simulation.pass_ms(1_000)
        await again
        assert errors(simulation, arn) == ["Runtime.ExitError"]


async def test_many_losses_share_a_commit() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        for _ in range(50):
            await simulation.start()
        invocations = [await worker.take() for _ in range(50)]
        before = simulation.host.link.commits
        losing = asyncio.ensure_future(simulation.history.invocations.worker_lost("worker-1"))
        await simulation.pass_ms(1_000)
        await losing
        assert simulation.host.link.commits - before == 1
        invocations = [await worker.take() for _ in range(50)]
        before = simulation.host.link.commits
        await simulation.history.invocations.hand_back(
            [invocation.token for invocation in invocations]
        )
        assert simulation.host.link.commits - before == 1


async def test_a_loss_says_nothing_of_an_invocation_that_ended_unheard() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        first = await worker.take()
        await first.checkpoint(update("WAIT", "START", "w"))
        running = inside(simulation.history)._executions.running
        entry = running.get(key_of(arn))
        await first.complete()
        await simulation.pass_ms(1_000)
        # As if the end of the first had not been noticed here.
        running.add(entry)
        losing = asyncio.ensure_future(simulation.history.invocations.worker_lost("worker-1"))
        await simulation.pass_ms(1_000)
        await losing
        assert errors(simulation, arn) == [None]
        assert len(running) == 0


async def test_broken_invocations_are_run_again_with_growing_delays() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        for delay_ms in (0, 1_000, 2_000, 4_000):
            invocation = await worker.take()
            await invocation.complete("ERROR", error=ErrorObject("broke", "Runtime.ExitError"))
            if delay_ms:
                await simulation.pass_ms(delay_ms - 1)
                assert await worker.is_idle()
                await simulation.pass_ms(1)
        last = await worker.take()
        await last.complete("SUCCEEDED", '"at last"')
        assert (await simulation.history.queries.describe(arn)).result == '"at last"'


async def test_a_worker_that_does_not_list_an_invocation_has_lost_it() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn, _ = await simulation.start("n"), await simulation.start("m")
        first, second = await worker.take(), await worker.take()
        await first.step("a")
        await second.step("a")
        assert await worker.heartbeat(first) == ()
        assert errors(simulation, arn) == []
        await simulation.pass_ms(simulation.settings.handout_wait_ms + 1)
        assert await worker.heartbeat(second) == ()
        assert errors(simulation, arn) == ["Runtime.ExitError"]
        assert await worker.heartbeat(first, second) == (first.id,)


async def test_what_is_silent_everywhere_is_lost_at_last() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        await simulation.pass_ms(25_000)
        assert errors(simulation, arn) == []
        await simulation.pass_ms(20_000)
        assert errors(simulation, arn) == ["Runtime.ExitError"]


async def test_handing_back_is_no_failure_and_offers_at_once() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        await simulation.history.invocations.hand_back([invocation.token, invocation.token])
        assert errors(simulation, arn) == []
        second = await worker.take()
        assert [operation.id for operation in second.offer.page.operations][1:] == ["a"]
        with pytest.raises(StaleToken):
            await invocation.step("b")


async def test_completing_twice_ends_once() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("a")
        await asyncio.gather(invocation.complete("SUCCEEDED"), invocation.complete("SUCCEEDED"))
        await invocation.complete("SUCCEEDED")
        assert errors(simulation, arn) == [None]


async def test_nothing_that_ended_is_thought_to_run() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arns = [await simulation.start() for _ in range(4)]
        invocations = [await worker.take() for _ in range(4)]
        running = inside(simulation.history)._executions.running
        assert len(running) == 4
        await invocations[0].complete("SUCCEEDED")
        await invocations[1].complete("ERROR")
        await simulation.history.invocations.hand_back([invocations[2].token])
        await simulation.history.commands.stop(arns[3], None)
        await settle()
        assert len(running) == 0
        assert running._by_worker == {}


async def test_a_plain_function_records_no_operations_but_its_end() -> None:
    async with Simulation() as simulation:
        await simulation.history.invocations.register_functions(
            [msgspec.structs.replace(function("order"), durable=False)]
        )
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        with pytest.raises(Invalid, match="'order' is registered as a plain function"):
            await invocation.step("s")
        await invocation.checkpoint()
        await invocation.complete("SUCCEEDED", '"done"')
        assert simulation.events(key_of(arn))[-1] == "ExecutionSucceeded"


async def test_an_execution_with_operations_goes_on_when_its_function_is_registered_as_plain() -> (
    None
):
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        invocation = await worker.take()
        await invocation.step("s")
        await simulation.history.invocations.register_functions(
            [msgspec.structs.replace(function("order"), durable=False)]
        )
        await invocation.step("t")
        await invocation.complete("SUCCEEDED")
        assert simulation.events(key_of(arn)).count("StepSucceeded") == 2
