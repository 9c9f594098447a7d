"""Operations left open in a context that has ended: they wake no invocation and have no timer."""

from collections.abc import Callable

import pytest

from perdure_core.commands import ChildEnded, CompleteCallback
from perdure_core.model import OperationStatus
from perdure_core.state import DEADLINE, Dispatch
from tests.core.scene import Scene, update


def idle(*, ended: bool) -> Scene:
    """Return an execution that waits for a callback and has open operations in contexts."""
    scene = Scene()
    scene.take()
    scene.checkpoint(
        update("CALLBACK", "START", "own"),
        update("CONTEXT", "START", "outer"),
        update("CONTEXT", "START", "inner", parent_id="outer"),
        update("WAIT", "START", "wait", parent_id="inner"),
        update("STEP", "RETRY", "step", parent_id="inner"),
        update("CALLBACK", "START", "callback", parent_id="outer", timeout_s=1),
        update("CHAINED_INVOKE", "START", "invoke", parent_id="inner"),
    )
    if ended:
        scene.checkpoint(update("CONTEXT", "SUCCEED", "outer"))
    scene.complete("PENDING")
    assert scene.state.dispatch is Dispatch.IDLE
    return scene


CHANGES: dict[str, Callable[[Scene], object]] = {
    "callback": lambda scene: scene.complete_callback("callback"),
    "invoke": lambda scene: scene.do(ChildEnded(operation_id="invoke", status="FAILED")),
}


@pytest.mark.parametrize("ended", [True, False])
def test_no_time_is_kept_below_an_ended_context(ended: bool) -> None:
    scene = idle(ended=ended)
    alarms = scene.state.alarms.snapshot().keys()
    assert alarms == {DEADLINE, *([] if ended else ["wait", "step", "callback"])}
    scene.wait(1_000)
    assert (scene.state.dispatch is Dispatch.IDLE) is ended


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("change", list(CHANGES))
def test_what_ends_below_an_ended_context_is_recorded_and_wakes_nothing(
    change: str, ended: bool
) -> None:
    scene = idle(ended=ended)
    CHANGES[change](scene)
    assert scene.state.operations[change].ended_ms == scene.now_ms
    assert (scene.state.dispatch is Dispatch.IDLE) is ended
    scene.complete_callback("own")
    assert scene.state.dispatch is Dispatch.WANTED


def test_a_handler_that_waits_for_nothing_else_cannot_be_pending() -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(
        update("CONTEXT", "START", "outer"),
        update("WAIT", "START", "wait", parent_id="outer"),
        update("CONTEXT", "FAIL", "outer"),
    )
    scene.complete("PENDING")
    assert scene.state.status == "FAILED"
    assert scene.state.error is not None
    assert "no pending operations" in str(scene.state.error.message)


def test_what_begins_below_an_ended_context_wakes_nothing() -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(
        update("CONTEXT", "START", "outer"),
        update("CONTEXT", "SUCCEED", "outer"),
        update("WAIT", "START", "wait", parent_id="outer"),
        update("CALLBACK", "START", "own"),
    )
    scene.complete("PENDING")
    assert scene.state.alarms.snapshot().keys() == {DEADLINE}
    assert scene.state.operations["wait"].status is OperationStatus.STARTED


def test_a_wait_that_is_over_cannot_be_cancelled_and_stays_over() -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("WAIT", "START", "wait"))
    scene.wait(1_000)
    (changed,) = scene.checkpoint(update("WAIT", "CANCEL", "wait"))
    assert (changed.id, changed.status) == ("wait", OperationStatus.SUCCEEDED)


def test_only_what_is_open_is_remembered_by_its_context() -> None:
    scene = idle(ended=False)
    assert scene.state.open_below == {
        "outer": {"inner": None, "callback": None},
        "inner": {"wait": None, "step": None, "invoke": None},
    }
    scene.wait(1_000)
    scene.do(ChildEnded(operation_id="invoke", status="SUCCEEDED"))
    assert scene.state.open_below == {"outer": {"inner": None}}
    scene.take()
    scene.checkpoint(update("CONTEXT", "SUCCEED", "inner", parent_id="outer"))
    assert scene.state.open_below == {}
    scene.do(CompleteCallback(operation_id="own", succeeded=True))


@pytest.mark.parametrize("parent_id", ["context", None])
def test_a_retry_below_an_ended_context_keeps_no_time_whether_or_not_it_repeats_the_parent(
    parent_id: str | None,
) -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(
        update("CONTEXT", "START", "context"),
        update("CONTEXT", "SUCCEED", "context"),
        update("STEP", "START", "step", parent_id="context"),
    )
    scene.checkpoint(update("STEP", "RETRY", "step", parent_id=parent_id))
    assert scene.state.alarms.snapshot().keys() == {DEADLINE}
    assert scene.state.timed_open == 0
