"""What an invocation does about the checkpoints that it has sent and does not await."""

import sys
from types import CodeType
from typing import Any

from perdure.invocation.state import InvocationState
from perdure.protocol.invocation import InvocationEnvironment
from perdure_core.model import OperationAction, OperationType, OperationUpdate
from tests.sdk.scripted import Scripted, delivery

FEW = 50
MANY = 500


def _calls_of_sending(count: int) -> int:
    """Return how many functions are called to send `count` checkpoints, none of which is over."""
    checkpoints = Scripted()
    state = InvocationState(InvocationEnvironment(delivery(), checkpoints))
    calls = 0

    def on_event(_code: CodeType | Any, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        for number in range(count):
            update = OperationUpdate(
                id=str(number), type=OperationType.CONTEXT, action=OperationAction.START
            )
            state.send(state.fibers.root, update)
    finally:
        sys.setprofile(None)
    assert len(checkpoints.open) == count
    return calls


def test_a_checkpoint_costs_the_same_however_many_are_under_way() -> None:
    few, many = _calls_of_sending(FEW) / FEW, _calls_of_sending(MANY) / MANY
    assert many < 1.1 * few


def test_what_is_recorded_is_pending_no_longer() -> None:
    checkpoints = Scripted()
    state = InvocationState(InvocationEnvironment(delivery(), checkpoints))
    update = OperationUpdate(id="1", type=OperationType.CONTEXT, action=OperationAction.START)
    sent = state.send(state.fibers.root, update)
    assert sent in tuple(state.pending_checkpoints())
    checkpoints.resolve(None)
    assert tuple(state.pending_checkpoints()) == ()
