"""Waits: durable timers."""

from typing import Any

import pytest

from perdure import DurableContext
from perdure.config import Duration
from perdure.exceptions import TimedSuspendExecution, ValidationError
from perdure.worker_api import Pending, Succeeded
from perdure_core.model import OperationUpdate
from tests.sdk.hosted import Hosted, handler


def waiting(seconds: int) -> Hosted:
    return Hosted(handler(lambda _, context: context.wait(Duration(seconds), "nap")))


def test_a_wait_suspends_and_ends_when_its_time_has_come() -> None:
    host = waiting(31_622_400)
    began_ms = host.now_ms
    assert host.run() == Pending()
    host.pass_time()
    assert host.now_ms - began_ms == 31_622_400_000


@pytest.mark.parametrize("duration_ms", [1, 250, 1_500])
def test_a_wait_may_be_shorter_than_a_second(duration_ms: int) -> None:
    duration = Duration.from_milliseconds(duration_ms)
    host = Hosted(handler(lambda _, context: context.wait(duration)))
    began_ms = host.now_ms
    assert host.run() == Pending()
    host.pass_time()
    assert host.now_ms - began_ms == duration_ms
    assert host.run() == Succeeded("null")


def test_a_wait_says_its_name_and_its_length_in_milliseconds() -> None:
    host = waiting(5)
    host.run()
    ((update,),) = host.calls
    assert isinstance(update, OperationUpdate)
    assert (update.name, update.sub_type, update.wait_ms) == ("nap", "Wait", 5_000)


@pytest.mark.parametrize("duration", [Duration(), Duration(31_622_400, 1)])
def test_a_wait_outside_its_limits_is_refused_and_takes_no_place(duration: Duration) -> None:
    def clumsy(_: Any, context: DurableContext) -> str:
        with pytest.raises(ValidationError, match="1 ms to 366 days"):
            context.wait(duration)
        context.wait(Duration(1))
        return "fine"

    host = Hosted(handler(clumsy))
    assert host.finish() == Succeeded('"fine"')
    assert len(host.state.operations) == 1


def test_a_recorded_wait_keeps_its_length() -> None:
    host = waiting(5)
    host.run()
    host.function = handler(lambda _, context: context.wait(Duration(500), "nap"))
    began_ms = host.now_ms
    assert host.finish() == Succeeded("null")
    assert host.now_ms - began_ms == 5_000


def test_a_suspension_says_until_when() -> None:
    caught: list[BaseException] = []

    def curious(_: Any, context: DurableContext) -> None:
        try:
            context.wait(Duration(5))
        except BaseException as suspension:
            caught.append(suspension)
            raise

    host = Hosted(handler(curious))
    host.run()
    (suspension,) = caught
    assert isinstance(suspension, TimedSuspendExecution)
    assert suspension.scheduled_timestamp == (host.now_ms + 5_000) / 1_000


def test_one_wait_after_another_takes_one_invocation_each() -> None:
    def naps(_: Any, context: DurableContext) -> str:
        for _number in range(3):
            context.wait(Duration(60))
        return "rested"

    host = Hosted(handler(naps))
    assert host.finish() == Succeeded('"rested"')
    assert len(host.outcomes) == 4
    assert host.updates == ["START WAIT"] * 3
