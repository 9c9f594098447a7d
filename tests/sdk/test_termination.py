"""The termination of an invocation: once fixed, nothing that the handler does changes it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from perdure import DurableContext, StepContext
from perdure.config import Duration
from perdure.exceptions import (
    ExecutionError,
    InvocationError,
    NonDeterministicExecutionError,
    SuspendExecution,
)
from perdure.worker_api import (
    CheckpointRefused,
    CheckpointUnavailable,
    Diverged,
    Errored,
    Failed,
    InvocationEnvironment,
    InvocationLost,
    Lost,
    Outcome,
    Pending,
    Succeeded,
    run_invocation,
)
from perdure_core import commands
from tests.sdk.hosted import Crash, Hosted, handler
from tests.sdk.scripted import Scripted, delivery


def work(step_context: StepContext) -> str:
    return "done"


def ended_by(checkpoints: Scripted, body: Callable[[Any, Any], Any]) -> Outcome:
    return run_invocation(handler(body), InvocationEnvironment(delivery(), checkpoints))


def swallowing(_: Any, context: DurableContext) -> str:
    """Catch control-flow exceptions again and again, and return success."""
    for _number in range(3):
        with suppress(BaseException):
            context.step(work)
    return "all is well"


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (InvocationLost(), Lost),
        (CheckpointRefused("no such thing"), Failed),
        (CheckpointUnavailable("database is down"), Errored),
    ],
)
def test_trouble_with_a_checkpoint_decides_the_outcome_even_when_it_is_swallowed(
    trouble: BaseException, outcome: type[Outcome]
) -> None:
    checkpoints = Scripted(trouble)
    assert type(ended_by(checkpoints, swallowing)) is outcome
    urgent = [updates for updates, is_urgent in checkpoints.calls if is_urgent]
    assert len(urgent) == 1


def test_a_refused_checkpoint_fails_the_execution_with_the_reason() -> None:
    outcome = ended_by(Scripted(CheckpointRefused("name is too long")), swallowing)
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "The service refused a checkpoint: name is too long"
    assert outcome.error.type == "perdure.exceptions.ExecutionError"


def test_an_unavailable_service_breaks_the_invocation_with_the_reason() -> None:
    outcome = ended_by(Scripted(CheckpointUnavailable("database is down")), swallowing)
    assert isinstance(outcome, Errored)
    assert outcome.error.message == "A checkpoint could not be recorded: database is down"


@pytest.mark.parametrize(
    ("trouble", "first", "later"),
    [
        (InvocationLost(), InvocationLost, InvocationLost),
        (CheckpointRefused("no"), ExecutionError, SuspendExecution),
        (CheckpointUnavailable("no"), InvocationError, SuspendExecution),
    ],
)
def test_after_the_end_every_durable_call_raises_control_flow(
    trouble: BaseException, first: type[BaseException], later: type[BaseException]
) -> None:
    raised: list[BaseException] = []

    def stubborn(_: Any, context: DurableContext) -> None:
        for call in (
            lambda: context.step(work),
            lambda: context.step(work),
            lambda: context.wait(Duration(1)),
            context.create_callback,
        ):
            try:
                call()
            except BaseException as error:  # noqa: BLE001
                raised.append(error)

    ended_by(Scripted(trouble), stubborn)
    assert [type(error) for error in raised] == [first, later, later, later]


def test_a_revoked_turn_ends_the_invocation_at_once() -> None:
    reached: list[str] = []

    def paused(_: Any, context: DurableContext) -> str:
        context.step(work)
        reached.append("past the step")
        return "done"

    assert ended_by(Scripted(revoked=True), paused) == Pending()
    assert reached == []


def test_an_execution_that_is_paused_meanwhile_goes_on_after_its_resumption() -> None:
    def pausing(_: Any, context: DurableContext) -> Any:
        context.step(lambda _: host.command(commands.Pause(running=True)), "pause")
        return context.step(work, "work")

    host = Hosted(handler(pausing))
    assert host.run() == Pending()
    host.command(commands.Resume())
    assert host.run() == Succeeded('"done"')
    assert host.history.count("StepStarted") == 2


def test_a_swallowed_suspension_is_pending_all_the_same() -> None:
    def swallow(_: Any, context: DurableContext) -> str:
        try:
            context.wait(Duration(5))
        except BaseException:  # noqa: BLE001
            return "too early"
        return "in time"

    host = Hosted(handler(swallow))
    assert host.run() == Pending()
    assert host.finish() == Succeeded('"in time"')


def test_an_ordinary_except_clause_does_not_see_a_suspension() -> None:
    def careless(_: Any, context: DurableContext) -> str:
        try:
            context.wait(Duration(5))
        except Exception:  # noqa: BLE001
            return "swallowed"
        return "waited"

    assert Hosted(handler(careless)).finish() == Succeeded('"waited"')


def test_a_durable_call_in_a_finally_block_does_not_run_while_suspending() -> None:
    def tidy(_: Any, context: DurableContext) -> None:
        try:
            context.wait(Duration(5))
        finally:
            context.step(work, "clean up")

    host = Hosted(handler(tidy))
    assert host.run() == Pending()
    assert host.updates == ["START WAIT"]
    assert host.finish() == Succeeded("null")


def test_an_exception_raised_while_suspending_does_not_fail_the_execution() -> None:
    def clumsy(_: Any, context: DurableContext) -> None:
        try:
            context.wait(Duration(5))
        except BaseException as suspension:
            raise ValueError("oops") from suspension

    assert Hosted(handler(clumsy)).run() == Pending()


def test_what_was_sent_and_not_awaited_is_durable_before_the_invocation_ends() -> None:
    def interrupted(_: StepContext) -> None:
        raise SuspendExecution("by hand")

    checkpoints = Scripted()
    assert ended_by(checkpoints, lambda _, context: context.step(interrupted)) == Pending()
    assert [(len(updates), urgent) for updates, urgent in checkpoints.calls] == [
        (1, False),
        (0, True),
    ]


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [(InvocationLost(), Lost), (CheckpointUnavailable("down"), Errored)],
)
def test_trouble_while_the_last_updates_are_written_outweighs_a_suspension(
    trouble: BaseException, outcome: type[Outcome]
) -> None:
    def interrupted(_: StepContext) -> None:
        raise SuspendExecution("by hand")

    ended = ended_by(Scripted(trouble), lambda _, context: context.step(interrupted))
    assert type(ended) is outcome


def test_a_start_that_fails_while_its_body_runs_stops_the_step_before_its_end_is_recorded() -> None:
    checkpoints = Scripted()

    def lose(_: StepContext) -> None:
        checkpoints.resolve(InvocationLost())

    assert ended_by(checkpoints, lambda _, context: context.step(lose)) == Lost()
    assert len(checkpoints.calls) == 1


def test_an_answer_that_says_nothing_about_a_started_wait_breaks_the_invocation() -> None:
    ended = ended_by(Scripted(), lambda _, context: context.wait(Duration(1)))
    assert isinstance(ended, Errored)


def test_a_replay_that_differs_stops_the_execution_and_records_nothing() -> None:
    host = Hosted(handler(lambda _, context: context.wait(Duration(5), "nap")))
    host.run()

    def other(_: Any, context: DurableContext) -> str:
        try:
            context.step(work, "nap")
        except NonDeterministicExecutionError:
            context.step(work, "another way")
        return "never"

    host.function = handler(other)
    outcome = host.finish()
    assert isinstance(outcome, Diverged)
    assert outcome.error.type == "perdure.exceptions.NonDeterministicExecutionError"
    assert "recorded:  WAIT (Wait) 'nap'" in (outcome.error.message or "")
    assert host.updates == ["START WAIT"]


def program(_: Any, context: DurableContext) -> str:
    context.step(work, "one")
    callback = context.create_callback("two")
    context.wait(Duration(9), "three")
    context.step(work, "four")
    return str(callback.result())


def test_an_execution_survives_a_crash_at_every_checkpoint_with_the_same_result() -> None:
    def lived(*crashes: Crash) -> tuple[Outcome, list[str], int]:
        host = Hosted(handler(program), crashes=crashes)
        host.run()
        host.succeed_callback("same")
        outcome = host.finish()
        events = [name for name in host.history if name != "InvocationCompleted"]
        return outcome, sorted(events), len(host.calls)

    outcome, events, calls = lived()
    assert outcome == Succeeded('"same"')
    for number in range(1, calls + 1):
        for accepted in (False, True):
            crashed = lived(Crash(number, accepted=accepted))
            assert crashed[:2] == (outcome, events)


def test_a_handler_that_returns_before_a_recorded_call_stops_the_execution() -> None:
    def longer(_: Any, context: DurableContext) -> str:
        context.step(work, "one")
        context.wait(Duration(5), "nap")
        return "late"

    def shorter(_: Any, context: DurableContext) -> str:
        context.step(work, "one")
        return "early"

    host = Hosted(handler(longer))
    host.run()
    host.function = handler(shorter)
    outcome = host.finish()
    assert isinstance(outcome, Diverged)
    assert "recorded:  WAIT (Wait) 'nap'" in (outcome.error.message or "")
    assert "requested: nothing, the handler returns" in (outcome.error.message or "")
