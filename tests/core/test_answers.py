"""Answers: of handlers, which may be illegal or too large, and of checkpoints, which have room."""

from typing import Any

import pytest

from perdure_core import limits
from perdure_core.commands import Complete
from perdure_core.events import ExecutionFailed, InvocationCompleted
from perdure_core.model import ErrorObject
from perdure_core.state import wants_task
from perdure_core.validation import error_bytes
from tests.core.scene import Scene, update

MEBIBYTE = 1_048_576


@pytest.mark.parametrize("status", ["FAILED", "ERROR"])
def test_an_error_that_is_too_large_is_shown_shortened(status: Any) -> None:
    scene = Scene()
    scene.take()
    error = ErrorObject("é" * 300_000, "T" * 600_000, "d" * 600_000, ("frame",) * 10_000)
    scene.do(Complete(token=scene.held(), status=status, error=error))
    shortened = next(
        event.error
        for event in scene.events()
        if isinstance(event, ExecutionFailed | InvocationCompleted) and event.error
    )
    assert limits.ERROR_BYTES_MAX // 2 < error_bytes(shortened) <= limits.ERROR_BYTES_MAX
    assert shortened.message is not None
    assert shortened.message.endswith("é…")


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "SUCCEEDED", "error": ErrorObject("boom")},
        {"status": "FAILED", "result": "1"},
        {"status": "PENDING", "result": "1"},
        {"status": "PENDING", "error": ErrorObject("boom")},
        {"status": "PENDING"},
    ],
)
def test_an_illegal_answer_of_a_handler_fails_the_execution(answer: dict[str, Any]) -> None:
    scene = Scene()
    scene.take()
    scene.complete(**answer)
    error = scene.state.error
    assert error is not None
    assert error.type == "InvalidParameterValueException"
    assert f"Cannot return {answer['status']} status with" in (error.message or "")


def test_an_answer_brings_as_much_news_as_it_has_room_for_and_the_rest_later() -> None:
    scene = Scene()
    scene.take()
    names = [f"cb{number}" for number in range(6)]
    scene.checkpoint(*(update("CALLBACK", "START", name) for name in names))
    large = "x" * MEBIBYTE
    for name in names:
        scene.complete_callback(name, large)
    fitting = limits.CHECKPOINT_NEWS_BYTES_MAX // MEBIBYTE
    assert [operation.id for operation in scene.checkpoint()] == names[:fitting]
    assert [operation.id for operation in scene.checkpoint()] == names[fitting:]
    assert scene.checkpoint() == []


def test_news_that_found_no_room_wants_another_invocation() -> None:
    scene = Scene()
    scene.take()
    names = [f"cb{number}" for number in range(6)]
    scene.checkpoint(*(update("CALLBACK", "START", name) for name in (*names, "open")))
    for name in names:
        scene.complete_callback(name, "x" * MEBIBYTE)
    scene.checkpoint()
    scene.complete("PENDING")
    assert wants_task(scene.state)


def test_an_outcome_larger_than_the_limit_of_an_answer_is_still_sent() -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("CHAINED_INVOKE", "START", "child", function="child"))
    scene.end_child("child", "x" * limits.PAYLOAD_BYTES_MAX)
    assert [operation.id for operation in scene.checkpoint()] == ["child"]
