"""Checkpoint tokens: which invocation may write, and which outcomes its worker has seen."""

from typing import Any

import msgspec
import pytest

from perdure_core.commands import (
    Complete,
    CompletionStatus,
    HandBack,
    HeartbeatCallback,
    Pause,
    Resume,
)
from perdure_core.execution import current_token, is_current
from perdure_core.model import ErrorObject
from perdure_core.refusals import StaleToken
from perdure_core.state import Dispatch, wants_task
from tests.core.scene import Scene, update


def waiting() -> Scene:
    """Return a scene whose worker has just started a callback and a wait."""
    scene = Scene()
    scene.take()
    scene.checkpoint(
        update("CALLBACK", "START", "cb"), update("WAIT", "START", "w", wait_ms=60_000)
    )
    return scene


def test_the_first_of_two_workers_to_checkpoint_has_the_turn() -> None:
    scene = Scene()
    first, second = scene.take(), scene.take()
    scene.token = second
    scene.checkpoint(update("STEP", "START", "s"))
    assert not is_current(scene.state, first)
    scene.token = first
    refused = scene.refusal(scene.call(update("STEP", "START", "s")))
    assert "its turn 0 has passed; the present one is 1" in str(refused)


def test_a_turn_that_another_invocation_has_taken_says_so() -> None:
    scene = waiting()
    other = msgspec.structs.replace(scene.held(), invocation_id="other")
    refused = scene.refusal(HandBack(other))
    assert "turn 1 was taken by another invocation, i1" in str(refused)


def test_a_turn_knows_no_more_than_its_answer_showed() -> None:
    scene = waiting()
    answered = scene.held()
    scene.complete_callback("cb")
    # The answer is given, or given again, after the callback was completed.
    assert current_token(scene.state, "i1", answered.started_ms) == answered
    scene.complete("PENDING")
    assert wants_task(scene.state)


def test_news_counts_until_the_invocation_ends() -> None:
    scene = waiting()
    scene.complete_callback("cb")
    assert {operation.id for operation in scene.checkpoint()} == {"cb"}
    assert scene.checkpoint() == []
    scene.complete("PENDING")
    assert wants_task(scene.state)
    scene.take()
    scene.complete("PENDING")
    assert not wants_task(scene.state)


def test_a_revoked_turn_may_end_its_invocation_and_nothing_else() -> None:
    scene = waiting()
    scene.pause()
    revoked = scene.held()
    scene.checkpoint()
    assert scene.state.revoked
    assert is_current(scene.state, revoked)
    assert isinstance(scene.refusal(scene.call()), StaleToken)
    scene.complete("PENDING")
    assert scene.state.status == "PAUSED"
    assert scene.state.dispatch is Dispatch.WANTED


def test_an_unknown_worker_cannot_act_while_it_is_paused() -> None:
    scene = Scene()
    scene.take()
    scene.do(Pause(running=False))
    refused = scene.refusal(scene.call())
    assert str(refused) == "Invalid checkpoint token: the execution is PAUSED"
    scene.do(Resume())
    scene.checkpoint()


def test_a_pause_does_not_wait_for_an_invocation_that_cannot_be() -> None:
    scene = waiting()
    scene.complete("PENDING")
    scene.do(Pause(running=True))
    assert scene.state.status == "PAUSED"


def test_who_was_given_up_does_not_hear_that_it_is_done() -> None:
    scene = waiting()
    token = scene.held()
    scene.complete("ERROR", error=ErrorObject("the worker is silent", "Runtime.ExitError"))
    late = Complete(token=token, status=CompletionStatus.SUCCEEDED, result="1")
    assert isinstance(scene.refusal(late), StaleToken)
    again = Complete(token=token, status=CompletionStatus.ERROR)
    assert scene.do(again).record is None


@pytest.mark.parametrize("status", ["ERROR", "DIVERGED"])
def test_an_end_that_comes_twice_after_a_recorded_outcome_is_the_same_end(status: Any) -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(update("EXECUTION", "SUCCEED", "e", payload="1"))
    command = Complete(token=scene.held(), status=status)
    assert scene.do(command).record is not None
    assert scene.state.status == "SUCCEEDED"
    assert scene.do(command).record is None


def test_a_heartbeat_that_moves_nothing_is_not_recorded() -> None:
    scene = waiting()
    assert scene.do(HeartbeatCallback("cb")).record is None


def test_a_checkpoint_without_updates_takes_its_turn_and_tells_the_news() -> None:
    scene = waiting()
    scene.wait(60_000)
    before = scene.held()
    assert [(each.id, each.status) for each in scene.checkpoint()] == [("w", "SUCCEEDED")]
    assert not is_current(scene.state, before)
