"""Completions of a callback: the first counts; a second is a repeat if equal, else refused."""

from collections.abc import Callable

import msgspec
import pytest

from perdure_core.commands import Command, CompleteCallback, HeartbeatCallback, Stop
from perdure_core.execution import decide
from perdure_core.fold import apply
from perdure_core.large_payloads import ExternalPayloads, externalize
from perdure_core.limits import ERROR_INLINE_BYTES_MAX, PAYLOAD_INLINE_BYTES_MAX
from perdure_core.model import ErrorObject
from perdure_core.refusals import CallbackClosed, CallbackExpired
from tests.core.scene import Scene, update

ID = "cb"
LARGE = "x" * (PAYLOAD_INLINE_BYTES_MAX + 1)
LARGE_ERROR = ErrorObject("y" * (ERROR_INLINE_BYTES_MAX + 1), "Rejected")


def succeed(result: str | None) -> CompleteCallback:
    return CompleteCallback(operation_id=ID, succeeded=True, result=result)


def fail(error: ErrorObject | None) -> CompleteCallback:
    return CompleteCallback(operation_id=ID, succeeded=False, error=error)


def completed(first: CompleteCallback) -> Scene:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("CALLBACK", "START", ID, timeout_s=9))
    record = decide(scene.state, first, scene.now_ms).record
    assert record is not None
    apply(scene.state, externalize(record, ExternalPayloads()))
    return scene


REJECTED = ErrorObject("no", "Rejected", "{}", ("here",))
EQUAL = [
    pytest.param(succeed('{"a":1}'), succeed('{"a":1}'), id="the same text"),
    pytest.param(succeed('{"a":1,"b":[]}'), succeed('{"b": [], "a": 1}'), id="the same value"),
    pytest.param(succeed("no JSON"), succeed("no JSON"), id="no JSON"),
    pytest.param(succeed(None), succeed(None), id="nothing"),
    pytest.param(succeed(LARGE), succeed(LARGE), id="a large text"),
    pytest.param(fail(REJECTED), fail(REJECTED), id="an error"),
    pytest.param(fail(None), fail(ErrorObject()), id="an error without a word"),
    pytest.param(fail(LARGE_ERROR), fail(LARGE_ERROR), id="a large error"),
]
DIFFERENT = [
    pytest.param(succeed("1"), succeed("true"), id="another value"),
    pytest.param(succeed("1"), succeed(None), id="nothing instead of something"),
    pytest.param(succeed(None), succeed("1"), id="something instead of nothing"),
    pytest.param(succeed(LARGE), succeed(LARGE[:-1] + "y"), id="another large text"),
    pytest.param(succeed(LARGE), succeed(None), id="nothing instead of a large text"),
    pytest.param(succeed("no JSON"), succeed("no json"), id="no JSON either"),
    pytest.param(succeed(None), fail(None), id="an error instead of a result"),
    pytest.param(fail(None), succeed(None), id="a result instead of an error"),
    pytest.param(fail(REJECTED), fail(ErrorObject("no", "Rejected")), id="a shorter error"),
    pytest.param(fail(LARGE_ERROR), fail(ErrorObject("y", "Rejected")), id="a small error"),
    pytest.param(
        fail(LARGE_ERROR),
        fail(ErrorObject("z" * (ERROR_INLINE_BYTES_MAX + 1), "Rejected")),
        id="another large error",
    ),
]
LATER: dict[str, Callable[[Scene], object]] = {
    "at once": lambda scene: None,
    "once the execution has ended": lambda scene: scene.do(Stop()),
}


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize(("first", "second"), EQUAL)
def test_an_equal_completion_is_a_repeat(
    first: CompleteCallback, second: CompleteCallback, later: str
) -> None:
    scene = completed(first)
    LATER[later](scene)
    assert scene.do(second).record is None


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_a_different_completion_is_refused(
    first: CompleteCallback, second: CompleteCallback, later: str
) -> None:
    scene = completed(first)
    LATER[later](scene)
    refused = scene.refusal(second)
    assert isinstance(refused, CallbackClosed)
    assert not isinstance(refused, CallbackExpired)


@pytest.mark.parametrize(("first", "second"), EQUAL)
def test_a_caller_may_have_every_second_completion_refused(
    first: CompleteCallback, second: CompleteCallback
) -> None:
    strict = msgspec.structs.replace(second, accept_equal=False)
    assert isinstance(completed(first).refusal(strict), CallbackClosed)


@pytest.mark.parametrize("late", [succeed(None), fail(ErrorObject("Callback timed out"))])
def test_a_completion_after_the_timeout_is_refused_as_that(late: CompleteCallback) -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("CALLBACK", "START", ID, timeout_s=3))
    scene.wait(3_000)
    assert isinstance(scene.refusal(late), CallbackExpired)


CALLBACK_STATUSES: dict[str, Callable[[Scene], object]] = {
    "STARTED": lambda scene: None,
    "SUCCEEDED": lambda scene: scene.complete_callback(ID),
    "FAILED": lambda scene: scene.do(CompleteCallback(operation_id=ID, succeeded=False)),
    "TIMED_OUT": lambda scene: scene.wait(3_000),
}


@pytest.mark.parametrize("status", list(CALLBACK_STATUSES))
@pytest.mark.parametrize(
    "command",
    [
        CompleteCallback(operation_id=ID, succeeded=True, accept_equal=False),
        CompleteCallback(operation_id=ID, succeeded=False, accept_equal=False),
        HeartbeatCallback(ID),
    ],
    ids=["succeed", "fail", "heartbeat"],
)
def test_a_callback_is_completed_only_while_it_is_started(status: str, command: Command) -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("CALLBACK", "START", ID, timeout_s=9, heartbeat_timeout_s=3))
    CALLBACK_STATUSES[status](scene)
    if status == "STARTED":
        # A heartbeat in the same moment would change nothing.
        scene.wait(1)
        assert scene.do(command).record is not None
        return
    refused = scene.refusal(command)
    assert isinstance(refused, CallbackClosed)
    assert str(refused) == f"callback {ID!r} is already {status}"
