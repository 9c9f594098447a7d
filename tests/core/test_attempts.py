"""A step knows when the attempt that is under way began: its time runs over crashes."""

import pytest

from perdure_core.model import StepDetails
from tests.core.scene import Scene, update


def details(scene: Scene) -> StepDetails:
    found = scene.state.operations["s"].details
    assert isinstance(found, StepDetails)
    return found


def started() -> Scene:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("STEP", "START", "s"))
    return scene


def test_an_attempt_begins_with_its_start() -> None:
    scene = started()
    assert details(scene).attempt_started_ms == scene.now_ms


def test_the_beginning_stays_while_others_run_the_attempt() -> None:
    scene = started()
    began_ms = scene.now_ms
    scene.now_ms += 5_000
    scene.hand_back()
    scene.take()
    scene.checkpoint(update("STEP", "SUCCEED", "other", payload="1"))
    assert details(scene).attempt_started_ms == began_ms


def test_each_attempt_has_a_beginning_of_its_own() -> None:
    scene = started()
    scene.checkpoint(update("STEP", "RETRY", "s", payload="1"))
    assert details(scene).attempt_started_ms is None
    scene.wait(1_000)
    assert details(scene).attempt_started_ms is None
    scene.checkpoint(update("STEP", "START", "s"))
    assert details(scene).attempt_started_ms == scene.now_ms


@pytest.mark.parametrize("action", ["SUCCEED", "FAIL"])
def test_a_step_that_has_ended_has_no_attempt(action: str) -> None:
    scene = started()
    scene.checkpoint(update("STEP", action, "s"))
    assert details(scene).attempt_started_ms is None
