"""Step timeouts: an attempt fails at its deadline, whatever its body still does."""

import asyncio
import logging
import subprocess
import sys
import threading
from contextvars import ContextVar
from typing import Any, Final

import pytest

from perdure import AsyncDurableContext, DurableContext, StepContext, StepError
from perdure.config import Duration, StepConfig, StepSemantics
from perdure.drivers import step_thread
from perdure.drivers.step_thread import THREAD_NAME
from perdure.exceptions import ExecutionError, StepCancelledError, StepTimeoutError, ValidationError
from perdure.operations.attempt import Attempt, AttemptClock
from perdure.operations.heartbeats import HeartbeatPlan
from perdure.retries import RetryDecision, RetryPresets
from perdure.serdes.serializers import JsonSerDes, Payloads, SerDesContext
from perdure.testing import DurableFunctionTestRunner, for_each_crash
from perdure.worker_api import Failed, Outcome, Pending, Succeeded, abandoned_steps
from perdure_core.limits import WAIT_MS_MAX
from tests.sdk.hosted import Crash, Hosted, async_handler, handler
from tests.sdk.timed_steps import (
    EVERYWHERE,
    IN_THREADS,
    SOON,
    Make,
    failure_message,
    failures,
    sync_step,
)

TIMEOUT_TYPE = "perdure.exceptions.StepTimeoutError"
THIRTY = Duration(30)


def config(timeout: Duration | None = THIRTY, retries: Any = None, **more: Any) -> StepConfig:
    strategy = RetryPresets.none() if retries is None else retries
    return StepConfig(retry_strategy=strategy, timeout=timeout, **more)


class Slow:
    """A body that takes so many seconds of virtual time in each attempt."""

    def __init__(self, *seconds: float) -> None:
        self.host: Hosted | None = None
        self.cancelled: list[bool] = []
        self._seconds = list(seconds)

    def __call__(self, step: StepContext) -> str:
        assert self.host is not None
        self.host.now_ms += int(self._seconds.pop(0) * 1_000)
        self.cancelled.append(step.cancelled)
        return "done"


def hosted(make: Make, slow: Slow, settings: StepConfig, *crashes: Crash) -> Hosted:
    slow.host = Hosted(make(slow, settings), crashes=crashes)
    return slow.host


@EVERYWHERE
def test_an_attempt_that_takes_too_long_is_retried_as_its_strategy_says(make: Make) -> None:
    slow = Slow(30, 29.999)
    host = hosted(make, slow, config(retries=RetryPresets.fixed(Duration(7))))
    assert host.run() == Pending()
    assert host.finish() == Succeeded('"done"')
    assert failures(host) == [(TIMEOUT_TYPE, 7_000)]
    assert slow.cancelled == [True, False]
    assert host.counts.steps == ["retried", "succeeded"]


def test_a_timeout_that_exhausts_the_retries_is_the_same_error_on_replay() -> None:
    caught: list[StepError] = []
    slow = Slow(31)

    def handle(_: Any, context: DurableContext) -> str:
        try:
            context.step(slow, "work", config())
        except StepError as error:
            caught.append(error)
        context.wait(Duration(5))
        return "went on"

    slow.host = Hosted(handler(handle))
    assert slow.host.finish() == Succeeded('"went on"')
    first, replayed = caught
    assert first.error_type == TIMEOUT_TYPE
    assert first.message == "Attempt 1 of STEP (Step) 'work' took longer than 30 s."
    assert vars(first) == vars(replayed)


def test_the_strategy_is_given_an_error_that_is_a_timeout() -> None:
    errors: list[Exception] = []

    def strategy(error: Exception, attempt: int) -> RetryDecision:
        errors.append(error)
        return RetryDecision.no_retry()

    hosted(sync_step, Slow(31), config(retries=strategy)).run()
    assert isinstance(errors[0], StepTimeoutError)
    assert isinstance(errors[0], TimeoutError)


@EVERYWHERE
def test_an_error_that_comes_too_late_is_a_timeout(make: Make) -> None:
    slow = Slow(30)

    def body(step: StepContext) -> None:
        slow(step)
        raise OSError("late")

    host = Hosted(make(body, config()))
    slow.host = host
    assert isinstance(host.run(), Failed)
    assert failures(host) == [(TIMEOUT_TYPE, None)]


def test_a_body_may_fail_the_execution_however_late() -> None:
    slow = Slow(30)

    def body(step: StepContext) -> None:
        slow(step)
        raise ExecutionError("no way")

    slow.host = Hosted(sync_step(body, config()))
    outcome = slow.host.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "no way"


# Over crashes.


@EVERYWHERE
def test_what_a_crash_left_of_the_time_is_what_the_body_gets(make: Make) -> None:
    # The start is the first checkpoint; the worker is lost before the end is recorded.
    slow = Slow(10, 19.999)
    host = hosted(make, slow, config(), Crash(2, accepted=False))
    assert host.run() == Succeeded('"done"')
    assert slow.cancelled == [False, False]

    slow = Slow(10, 20)
    host = hosted(make, slow, config(), Crash(2, accepted=False))
    assert isinstance(host.run(), Failed)
    assert slow.cancelled == [False, True]
    assert failures(host) == [(TIMEOUT_TYPE, None)]


@EVERYWHERE
def test_an_attempt_without_time_left_fails_without_its_body(make: Make) -> None:
    slow = Slow(30)
    host = hosted(make, slow, config(), Crash(2, accepted=False))
    assert isinstance(host.run(), Failed)
    assert len(slow.cancelled) == 1
    assert failures(host) == [(TIMEOUT_TYPE, None)]


def test_a_body_that_kills_its_worker_spends_the_retries() -> None:
    slow = Slow(*[20] * 4)
    crashes = [Crash(number, accepted=False) for number in (2, 3, 6, 7)]
    host = hosted(sync_step, slow, config(retries=RetryPresets.linear()), *crashes)
    host.run()
    while len(failures(host)) < 2:
        host.pass_time()
        host.run()
    assert [kind for kind, _ in failures(host)] == [TIMEOUT_TYPE] * 2
    # Twice for each attempt: what was left after the first crash was not enough for a third.
    assert len(slow.cancelled) == 4


@pytest.mark.parametrize("ahead_ms", [-10_000_000, 10_000_000])
def test_a_worker_whose_clock_is_wrong_measures_right(ahead_ms: int) -> None:
    slow = Slow(10, 19.999)
    host = hosted(sync_step, slow, config(), Crash(2, accepted=False))
    host.worker_ahead_ms = ahead_ms
    assert host.run() == Succeeded('"done"')


def test_an_attempt_is_durably_started_before_its_time_runs() -> None:
    seen: list[list[str]] = []

    def look(_: StepContext) -> None:
        seen.append(host.updates)

    host = Hosted(sync_step(look, config()))
    host.run()
    assert seen == [["START STEP"]]


def test_an_at_most_once_step_that_was_interrupted_is_no_timeout() -> None:
    slow = Slow(31)
    settings = config(step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
    host = hosted(sync_step, slow, settings, Crash(2, accepted=False))
    host.run()
    assert [kind for kind, _ in failures(host)] == ["perdure.exceptions.StepInterruptedError"]


@EVERYWHERE
def test_a_crash_anywhere_changes_nothing_for_a_body_that_is_in_time(make: Make) -> None:
    def body(step: StepContext) -> str:
        step.heartbeat(step.attempt)
        if step.attempt == 1:
            raise OSError("busy")
        return "done"

    settings = config(heartbeat_timeout=THIRTY, retries=RetryPresets.fixed())
    results = for_each_crash(make(body, settings))
    # The start, the heartbeat and the end of two attempts, with a crash before and after each.
    assert len(results) == 1 + 2 * 6
    assert {result.value for result in results} == {"done"}


# Bodies that go on.


def test_an_async_body_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def body(step: StepContext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(step.cancelled)
            raise

    async def handle(_: Any, context: AsyncDurableContext) -> None:
        await context.step(body, "work", config(SOON))

    message = failure_message(async_handler(handle))
    assert message == "Attempt 1 of STEP (Step) 'work' took longer than 0.020 s."
    assert cancelled == [True]


@IN_THREADS
def test_a_body_sees_that_it_is_cancelled_and_goes(make: Make) -> None:
    ends: list[str] = []

    def body(step: StepContext) -> None:
        while True:
            try:
                step.raise_if_cancelled()
            except Exception:  # noqa: BLE001 - what control flow has to pass
                ends.append("caught")
            except StepCancelledError:
                ends.append("cancelled")
                raise

    assert failure_message(make(body, config(SOON))) is not None
    assert ends == ["cancelled"]


@IN_THREADS
def test_a_body_that_looks_away_is_interrupted(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_thread, "CANCEL_GRACE_S", 0.0)
    ends: list[type[BaseException]] = []

    def body(_: StepContext) -> None:
        try:
            while True:
                pass
        except BaseException as error:
            ends.append(type(error))
            raise

    assert failure_message(make(body, config(SOON))) is not None
    assert [issubclass(end, StepCancelledError) for end in ends] == [True]
    assert abandoned_steps.count == 0


@IN_THREADS
def test_a_body_that_is_stuck_is_left_alone_and_counted(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_thread, "CANCEL_GRACE_S", 0.0)
    monkeypatch.setattr(step_thread, "CLEANUP_GRACE_S", 0.0)
    free = threading.Lock()
    free.acquire()
    threads: list[threading.Thread] = []

    def body(_: StepContext) -> str:
        threads.append(threading.current_thread())
        with free:  # in C code: no exception reaches it
            return "late"

    with caplog.at_level(logging.INFO, "perdure"):
        assert failure_message(make(body, config(SOON))) is not None
        assert abandoned_steps.count == 1
        free.release()
        threads[0].join()
    assert abandoned_steps.count == 0
    assert [record.getMessage() for record in caplog.records if record.name == "perdure"] == [
        "Attempt 1 of STEP (Step) 'work' did not end after its timeout; it is abandoned",
        "Attempt 1 of STEP (Step) 'work', which was abandoned after its timeout, has ended",
    ]


@IN_THREADS
def test_a_body_too_many_is_waited_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_thread, "CANCEL_GRACE_S", 0.0)
    monkeypatch.setattr(step_thread, "CLEANUP_GRACE_S", 0.0)
    free = threading.Lock()
    free.acquire()
    entered = [abandoned_steps.admit() for _ in range(step_thread.ABANDONED_MAX)]
    assert all(entered)
    assert not abandoned_steps.admit()

    class Release(logging.Handler):
        """A log handler that releases the body once its wait is logged."""

        def emit(self, record: logging.LogRecord) -> None:
            if "waited for" in record.getMessage():
                free.release()

    def body(_: StepContext) -> str:
        with free:
            return "late"

    release = Release()
    logging.getLogger("perdure").addHandler(release)
    try:
        assert failure_message(make(body, config(SOON))) is not None
        assert abandoned_steps.count == step_thread.ABANDONED_MAX
    finally:
        logging.getLogger("perdure").removeHandler(release)
        for _ in entered:
            abandoned_steps.leave()


def test_an_interruption_never_hits_a_body_that_has_ended() -> None:
    watch = AttemptClock(lambda: 0, lambda: 0, lambda _: 0, lambda: False)
    plan = HeartbeatPlan(Payloads(JsonSerDes(), SerDesContext()), lambda _: None)
    attempt = Attempt(1, "it", watch, plan, timeout_ms=1)
    for _ in range(2_000):
        thread = step_thread.StepThread(attempt, lambda: "done")
        thread.start()
        thread.interrupt()
        assert thread.wait_ended(10.0)
        thread.interrupt()
        try:
            assert thread.result() == "done"
        except StepCancelledError:
            continue


# Steps with timeouts, of which one ended in time and one was interrupted; then a profiler.
PROFILED: Final = """
import sys
from perdure import durable_execution
from perdure.config import Duration, StepConfig
from perdure.drivers import step_thread
from perdure.retries import RetryPresets
from perdure.testing import DurableFunctionTestRunner

step_thread.CANCEL_GRACE_S = 0.0
timed = StepConfig(retry_strategy=RetryPresets.none(), timeout=Duration.from_milliseconds(20))

def spin(_):
    while True:
        pass

@durable_execution
def handler(event, context):
    context.step(lambda _: None, config=StepConfig(timeout=Duration(60)))
    context.step(spin, config=timed)

with DurableFunctionTestRunner(handler, skip_time=False) as runner:
    assert "took longer" in runner.run().error.message
sys.setprofile(lambda *_: None)
(lambda: None)()
"""


def test_a_profiler_goes_on_after_steps_with_timeouts() -> None:
    # CPython 3.11 stays in a call for ever while an exception that was sent waits to be raised;
    # no signal ends that, so that it must not happen in this process.
    subprocess.run([sys.executable, "-c", PROFILED], check=True, timeout=60)


# What does not change.


NAME: ContextVar[str] = ContextVar("name", default="nobody")


@IN_THREADS
def test_a_body_in_a_thread_of_its_own_has_the_variables_of_its_handler(make: Make) -> None:
    seen: list[tuple[str, bool]] = []

    def body(_: StepContext) -> None:
        thread = threading.current_thread()
        seen.append((NAME.get(), thread.name.startswith(THREAD_NAME)))

    token = NAME.set("somebody")
    try:
        assert Hosted(make(body, config())).run() == Succeeded("null")
    finally:
        NAME.reset(token)
    assert seen == [("somebody", True)]


def test_a_body_without_a_timeout_runs_in_the_thread_of_its_handler() -> None:
    threads: list[threading.Thread] = []

    def handle(_: Any, context: DurableContext) -> None:
        threads.append(threading.current_thread())
        context.step(lambda _: threads.append(threading.current_thread()))

    host = Hosted(handler(handle))
    host.run()
    assert threads[0] is threads[1]
    assert [len(call) for call in host.calls] == [2]


def test_a_durable_call_inside_a_body_is_refused_with_a_timeout_too() -> None:
    contexts: list[Any] = []

    def outer(_: Any, context: DurableContext) -> None:
        contexts.append(context)
        context.step(lambda _: contexts[0].wait(Duration(1)), "work", config())

    outcome: Outcome = Hosted(handler(outer)).run()
    assert isinstance(outcome, Failed)
    assert "cannot contain" in (outcome.error.message or "")


@EVERYWHERE
def test_a_cancellation_that_is_made_up_fails_the_attempt(make: Make) -> None:
    def body(_: StepContext) -> None:
        raise StepCancelledError("I am cancelled.")

    host = Hosted(make(body, config(None)))
    assert isinstance(host.run(), Failed)
    assert [kind for kind, _ in failures(host)] == ["perdure.exceptions.InvalidStateError"]


@EVERYWHERE
def test_a_year_long_timeout_costs_no_time(make: Make) -> None:
    with DurableFunctionTestRunner(make(lambda _: "done", config(Duration.from_days(365)))) as kit:
        assert kit.run().value == "done"


def test_a_body_takes_virtual_time_in_a_test() -> None:
    kits: list[DurableFunctionTestRunner] = []

    def body(step: StepContext) -> str:
        if step.attempt == 1:
            while not step.cancelled:
                kits[0].skip(Duration.from_hours(1))
        return f"attempt {step.attempt}"

    settings = config(Duration.from_days(1), RetryPresets.fixed())
    with DurableFunctionTestRunner(sync_step(body, settings)) as kit:
        kits.append(kit)
        began = kit.now
        assert kit.run().value == "attempt 2"
        assert (kit.now - began).total_seconds() == 86_400 + 5


@pytest.mark.parametrize("timeout", [Duration(), Duration.from_milliseconds(WAIT_MS_MAX + 1)])
def test_a_timeout_outside_its_limits_is_refused(timeout: Duration) -> None:
    with pytest.raises(ValidationError, match="timeout of a step must be 1 ms to 366 days"):
        StepConfig(timeout=timeout)


def test_a_timeout_at_its_limit_is_taken() -> None:
    assert StepConfig(timeout=Duration.from_milliseconds(WAIT_MS_MAX)).timeout is not None
