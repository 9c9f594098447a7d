"""Attempts of steps: when each began and last sent a heartbeat. Timeouts run on over crashes."""

import pytest

from perdure_core.events import is_public
from perdure_core.limits import HEARTBEAT_DETAILS_BYTES_MAX
from perdure_core.model import StepDetails
from perdure_core.refusals import Invalid
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


# Signs of life.


def test_a_sign_of_life_is_remembered_with_what_it_says_and_shown_in_no_history() -> None:
    scene = started()
    history = scene.history()
    scene.now_ms += 5_000
    scene.checkpoint(update("STEP", "HEARTBEAT", "s", payload="7"))
    assert (details(scene).heartbeat, details(scene).heartbeat_ms) == ("7", scene.now_ms)
    assert scene.history() == history
    assert not is_public(scene.events()[-1])


def test_what_was_said_last_stays_for_the_next_attempt() -> None:
    scene = started()
    scene.checkpoint(update("STEP", "HEARTBEAT", "s", payload="7"))
    scene.checkpoint(update("STEP", "RETRY", "s", payload="1"))
    scene.wait(1_000)
    scene.checkpoint(update("STEP", "START", "s"))
    assert (details(scene).heartbeat, details(scene).heartbeat_ms) == ("7", None)
    scene.checkpoint(update("STEP", "HEARTBEAT", "s"))
    assert details(scene).heartbeat is None


@pytest.mark.parametrize("action", ["SUCCEED", "FAIL"])
def test_nothing_of_it_stays_when_the_step_has_ended(action: str) -> None:
    scene = started()
    scene.checkpoint(update("STEP", "HEARTBEAT", "s", payload="7"))
    scene.checkpoint(update("STEP", action, "s"))
    assert (details(scene).heartbeat, details(scene).heartbeat_ms) == (None, None)


def test_signs_of_life_may_stand_between_a_start_and_a_close() -> None:
    scene = Scene()
    scene.take()
    beat = update("STEP", "HEARTBEAT", "s", payload="7")
    retry = update("STEP", "RETRY", "s", payload="1")
    scene.checkpoint(update("STEP", "START", "s"), beat, beat, retry)
    assert details(scene).heartbeat == "7"


@pytest.mark.parametrize(
    "actions", [("RETRY", "HEARTBEAT"), ("HEARTBEAT", "START"), ("HEARTBEAT", "RETRY", "HEARTBEAT")]
)
def test_signs_of_life_stand_nowhere_else_in_a_checkpoint(actions: tuple[str, ...]) -> None:
    scene = started()
    refused = scene.refusal(scene.call(*(update("STEP", action, "s") for action in actions)))
    assert isinstance(refused, Invalid)
    assert "appears twice" in str(refused)


def test_what_a_sign_of_life_says_is_bounded() -> None:
    scene = started()
    most = "x" * HEARTBEAT_DETAILS_BYTES_MAX
    scene.checkpoint(update("STEP", "HEARTBEAT", "s", payload=most))
    refused = scene.refusal(scene.call(update("STEP", "HEARTBEAT", "s", payload=f"{most}x")))
    assert str(refused) == (
        "payload in HEARTBEAT of STEP 's' is 8,193 bytes; at most 8,192 are allowed"
    )
