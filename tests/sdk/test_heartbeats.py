"""A long attempt sends heartbeats: it times out without them, and they record its progress."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import pytest

from perdure import (
    AsyncDurableContext,
    StepContext,
    StepHeartbeatTimeoutError,
    ValidationError,
)
from perdure.config import Duration, StepConfig
from perdure.exceptions import SerDesError
from perdure.operations.heartbeats import (
    INTERVAL_MS_MIN,
    HeartbeatPlan,
    Heartbeats,
    PriorProgress,
    interval_ms,
)
from perdure.retries import RetryPresets
from perdure.serdes.serializers import JsonSerDes, Payloads, SerDesContext
from perdure.testing import DurableFunctionTestRunner
from perdure.worker_api import Failed, Succeeded
from perdure_core.events import StepFailed, StepHeartbeat
from perdure_core.limits import HEARTBEAT_DETAILS_BYTES_MAX
from perdure_core.model import OperationAction
from tests.sdk.hosted import Crash, Hosted, async_handler
from tests.sdk.timed_steps import (
    EVERYWHERE,
    IN_THREADS,
    SOON,
    Make,
    failure_message,
    failures,
    sync_step,
)

SILENT_TYPE = "perdure.exceptions.StepHeartbeatTimeoutError"
TEN = Duration(10)


def config(heartbeat_timeout: Duration | None = TEN, retries: Any = None) -> StepConfig:
    strategy = RetryPresets.none() if retries is None else retries
    return StepConfig(retry_strategy=strategy, heartbeat_timeout=heartbeat_timeout)


class Importer:
    """A body that runs one script each time: it passes seconds, or sends heartbeats with details.

    An exception is raised.
    """

    def __init__(self, *scripts: Iterable[object]) -> None:
        self.host: Hosted | None = None
        self.found: list[Any] = []
        self._scripts = list(scripts)

    def __call__(self, step: StepContext) -> str:
        assert self.host is not None
        self.found.append(step.heartbeat_details)
        for line in self._scripts.pop(0):
            match line:
                case float():
                    self.host.now_ms += int(line * 1_000)
                case Exception():
                    raise line
                case _:
                    step.heartbeat(line)
        return "done"


def hosted(make: Make, importer: Importer, settings: StepConfig, *crashes: Crash) -> Hosted:
    importer.host = Hosted(make(importer, settings), crashes=crashes)
    return importer.host


def recorded(host: Hosted) -> list[str | None]:
    """Return the details of the recorded heartbeats."""
    return [event.details for event in host.events if isinstance(event, StepHeartbeat)]


@EVERYWHERE
def test_an_attempt_that_falls_silent_has_failed(make: Make) -> None:
    importer = Importer([9.999, 1, 9.999, 2, 10.0, 3], [])
    host = hosted(make, importer, config(retries=RetryPresets.fixed(Duration(7))))
    assert host.finish() == Succeeded('"done"')
    assert failures(host) == [(SILENT_TYPE, 7_000)]
    (failed,) = [event for event in host.events if isinstance(event, StepFailed)]
    assert failed.error.message == "Attempt 1 of STEP (Step) 'work' sent no heartbeat for 10 s."


@EVERYWHERE
def test_an_attempt_that_speaks_up_may_go_on(make: Make) -> None:
    importer = Importer([9.999, 1] * 50)
    host = hosted(make, importer, config())
    assert host.finish() == Succeeded('"done"')


def test_the_first_of_two_timeouts_is_the_one_that_struck() -> None:
    both = StepConfig(RetryPresets.none(), timeout=Duration(12), heartbeat_timeout=TEN)
    host = hosted(sync_step, Importer([20.0]), both)
    host.run()
    assert failures(host) == [(SILENT_TYPE, None)]
    host = hosted(sync_step, Importer([5.0, 1, 15.0]), both)
    host.run()
    assert [kind for kind, _ in failures(host)] == ["perdure.exceptions.StepTimeoutError"]


# What survives.


@EVERYWHERE
def test_the_next_attempt_receives_the_last_details_of_the_one_before(make: Make) -> None:
    importer = Importer([{"row": 1}, {"row": 2}, OSError("gone")], [OSError("gone")], [])
    host = hosted(make, importer, config(None, RetryPresets.fixed(Duration(7))))
    assert host.finish() == Succeeded('"done"')
    assert importer.found == [None, {"row": 2}, {"row": 2}]
    # The second one was recorded together with the failure.
    together = [
        [update.action for update in call if update.action is not OperationAction.START]
        for call in host.calls
    ]
    assert together[1] == [OperationAction.HEARTBEAT, OperationAction.RETRY]


@EVERYWHERE
def test_a_run_after_a_crash_receives_the_recorded_details(make: Make) -> None:
    importer = Importer([1, 5.0, 2, 1.0, 3], [])
    host = hosted(make, importer, config(None), Crash(3, accepted=False))
    assert host.finish() == Succeeded('"done"')
    assert importer.found == [None, 2]


def test_without_details_the_next_attempt_receives_none() -> None:
    importer = Importer([1, 5.0, None, OSError("gone")], [])
    host = hosted(sync_step, importer, config(None, RetryPresets.fixed()))
    host.finish()
    assert importer.found == [None, None]


def test_signs_of_life_are_in_no_history() -> None:
    loud, still = Importer([1, 5.0, 2]), Importer([5.0])
    hosts = [hosted(sync_step, each, config(None)) for each in (loud, still)]
    for host in hosts:
        host.finish()
    assert hosts[0].history == hosts[1].history
    assert recorded(hosts[0]) == ["1", "2"]


# Silence over crashes.


def test_silence_goes_on_while_the_worker_is_dead() -> None:
    # Nothing was ever said: the start counts.
    importer = Importer([10.0])
    host = hosted(sync_step, importer, config(), Crash(2, accepted=False))
    assert isinstance(host.run(), Failed)
    assert failures(host) == [(SILENT_TYPE, None)]
    assert importer.found == [None]


def test_what_was_not_recorded_may_have_been_said() -> None:
    # Recorded 14.999 s ago, so possibly said 9.999 s ago.
    importer = Importer([1, 4.0, 2, 9.999, 1.0], [])
    host = hosted(sync_step, importer, config(Duration(20)), Crash(3, accepted=False))
    assert host.run() == Succeeded('"done"')
    importer = Importer([1, 4.0, 2, 11.0], [])
    host = hosted(sync_step, importer, config(TEN), Crash(3, accepted=False))
    assert isinstance(host.run(), Failed)


def test_a_body_that_kills_its_worker_and_says_nothing_spends_the_retries() -> None:
    importer = Importer([6.0], [6.0], [6.0], [6.0])
    crashes = [Crash(number, accepted=False) for number in (2, 3, 6, 7)]
    host = hosted(sync_step, importer, config(retries=RetryPresets.linear()), *crashes)
    host.run()
    while len(failures(host)) < 2:
        host.pass_time()
        host.run()
    assert [kind for kind, _ in failures(host)] == [SILENT_TYPE] * 2


# Bodies that go on.


def test_an_async_body_that_falls_silent_is_cancelled() -> None:
    async def body(step: StepContext) -> None:
        step.heartbeat("here")
        await asyncio.Event().wait()

    async def handle(_: Any, context: AsyncDurableContext) -> None:
        await context.step(body, "work", config(SOON))

    message = failure_message(async_handler(handle))
    assert message == "Attempt 1 of STEP (Step) 'work' sent no heartbeat for 0.020 s."


@IN_THREADS
def test_a_body_in_a_thread_that_falls_silent_sees_that_it_is_cancelled(make: Make) -> None:
    def body(step: StepContext) -> None:
        step.heartbeat("here")
        while True:
            step.raise_if_cancelled()

    message = failure_message(make(body, config(SOON)))
    assert message == "Attempt 1 of STEP (Step) 'work' sent no heartbeat for 0.020 s."


def test_a_test_sees_the_details_of_a_step() -> None:
    arns: list[str] = []
    ready = threading.Event()

    def body(step: StepContext) -> str:
        assert ready.wait(60)
        if step.attempt == 1:
            began = runner.now
            step.heartbeat({"row": 7})
            found = runner.get_execution(arns[0]).get_step("work")
            assert found.attempt_start_timestamp == found.heartbeat_timestamp == began
            assert found.heartbeat_details == {"row": 7}
            runner.skip(Duration.from_hours(1))
        return str(step.heartbeat_details)

    settings = config(Duration.from_minutes(30), RetryPresets.fixed())
    with DurableFunctionTestRunner(sync_step(body, settings)) as runner:
        arns.append(runner.run_async())
        ready.set()
        result = runner.wait_for_result(arns[0])
        assert result.value == "{'row': 7}"
        found = result.get_step("work")
        assert (found.attempt, found.heartbeat_details) == (2, None)


# How often they are recorded.


class HeartbeatLog:
    """What was recorded, on a clock that a test turns."""

    def __init__(self, past: PriorProgress | None = None) -> None:
        self.now_ms = 0
        self.written: list[str | None] = []
        self.answer: Callable[[], Future[None] | None] = lambda: None
        plan = HeartbeatPlan(Payloads(JsonSerDes(), SerDesContext()), self._record)
        self.heartbeats = Heartbeats(plan, past or PriorProgress(), lambda: self.now_ms)

    def _record(self, text: str | None) -> "Future[None] | None":
        self.written.append(text)
        return self.answer()


def test_the_first_is_recorded_at_once_and_then_one_in_an_interval() -> None:
    log = HeartbeatLog()
    for moment_ms in range(0, 3 * INTERVAL_MS_MIN, 1_000):
        log.now_ms = moment_ms
        log.heartbeats.record(moment_ms)
    assert log.written == ["0", "5000", "10000"]
    assert log.heartbeats.end() == ("14000",)


def test_a_step_that_lasts_a_year_has_a_bounded_record() -> None:
    log = HeartbeatLog()
    while log.now_ms < 366 * 86_400_000:
        log.heartbeats.record(None)
        log.now_ms += interval_ms(log.now_ms)
    log.heartbeats.end()
    assert len(log.written) < 1_300


def test_one_is_recorded_after_the_other() -> None:
    log = HeartbeatLog()
    first: Future[None] = Future()
    log.answer = lambda: first
    log.heartbeats.record(1)
    log.now_ms += INTERVAL_MS_MIN
    log.heartbeats.record(2)
    assert log.written == ["1"]
    first.set_result(None)
    log.heartbeats.record(3)
    assert log.written == ["1", "3"]
    log.heartbeats.end()


def test_the_interval_goes_on_over_a_crash() -> None:
    log = HeartbeatLog(PriorProgress(began_ago_ms=9_000, heartbeat="7", heartbeat_ago_ms=4_000))
    assert log.heartbeats.details() == 7
    log.heartbeats.record(8)
    assert log.written == []
    log.now_ms = 1_000
    log.heartbeats.record(9)
    assert log.written == ["9"]


def test_what_was_said_last_is_recorded_when_nothing_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Real time, as short as can be: the clock of the notebook says that the interval is over.
    log = HeartbeatLog()
    done = threading.Event()
    log.heartbeats.record(1)
    monkeypatch.setattr("perdure.operations.heartbeats.INTERVAL_MS_MIN", 1)

    def answer() -> None:
        done.set()

    log.answer = answer
    log.heartbeats.record(2)
    log.now_ms = INTERVAL_MS_MIN
    assert done.wait(60)
    assert log.written == ["1", "2"]
    assert log.heartbeats.end() is None


def test_nothing_is_heard_after_the_end() -> None:
    log = HeartbeatLog()
    log.heartbeats.end()
    log.heartbeats.record(1)
    assert log.written == []


def test_what_cannot_be_recorded_is_refused() -> None:
    log = HeartbeatLog()
    most = "x" * (HEARTBEAT_DETAILS_BYTES_MAX - 2)
    log.heartbeats.record(most)
    with pytest.raises(ValidationError, match="at most 8,192 bytes, got 8,193"):
        log.heartbeats.record(f"{most}x")
    with pytest.raises(SerDesError):
        log.heartbeats.record(object())
    assert log.written == [f'"{most}"']
    assert issubclass(StepHeartbeatTimeoutError, TimeoutError)
