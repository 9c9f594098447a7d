"""No wake-up is lost: a program that does its part finishes, whatever happens around it.

A program is a few branches, each a sequence of operations. Its handler knows only what it receives:
the operations at its start, and the answers to its checkpoints. Around it invocations break,
are handed back or paused, answers get lost, and callbacks, children and timers end at any moment.
"""

from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, given, settings

from perdure_core.commands import Checkpoint, Resume
from perdure_core.execution import current_token
from perdure_core.model import OPERATION_OPEN, Operation, OperationStatus, OperationUpdate
from perdure_core.state import Dispatch, is_open, waiting_for, wants_task
from perdure_core.views import changed_operations, visible_operations
from tests.core.scene import ORDER, Scene, update

KINDS = ["STEP", "RETRIED", "WAIT", "CALLBACK", "CHAINED_INVOKE"]
START = msgspec.structs.replace(ORDER, timeout_s=31_622_400)

programs = st.lists(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=3), min_size=1, max_size=3
)


class Handler:
    """One invocation of the program. `view` is all that it knows.

    A hasty one decides that a branch must wait when it first sees it so, and does not look again
    before its next invocation: as handlers do whose branches give up one by one.
    """

    def __init__(self, scene: Scene, program: list[list[str]], *, hasty: bool) -> None:
        self.scene = scene
        self.program = program
        self.hasty = hasty
        self.given_up: set[int] = set()
        scene.take()
        self.view = {operation.id: view(operation) for operation in visible_operations(scene.state)}

    def step(self) -> bool:
        """Do the next thing; return whether that was the end of the invocation."""
        updates: list[OperationUpdate] = []
        done = True
        for number, branch in enumerate(self.program):
            ahead = self.next_of(number, branch)
            done = done and ahead is None
            if isinstance(ahead, list) and number not in self.given_up:
                updates += ahead
            elif ahead == "open" and self.hasty:
                self.given_up.add(number)
        if updates:
            self.note(self.scene.checkpoint(*updates))
            return self.scene.state.revoked and self.end("PENDING")
        return self.end("SUCCEEDED" if done else "PENDING")

    def next_of(self, number: int, branch: list[str]) -> list[OperationUpdate] | str | None:
        """Return the next updates of the branch, "open" if it must wait, None when done."""
        for position, kind in enumerate(branch):
            operation_id = f"{number}-{position}-{kind}"
            known = self.view.get(operation_id)
            if known is None or known[0] is OperationStatus.READY:
                return updates_for(kind, operation_id, 0 if known is None else known[1])
            if known[0] in OPERATION_OPEN:
                return "open"
        return None

    def note(self, answer: list[Operation]) -> None:
        self.view |= {operation.id: view(operation) for operation in answer}

    def end(self, status: Any) -> bool:
        self.scene.complete(status)
        return True


def view(operation: Operation) -> tuple[OperationStatus, int]:
    return operation.status, getattr(operation.details, "attempt", 0)


def updates_for(kind: str, operation_id: str, attempts: int) -> list[OperationUpdate]:
    if kind in ("STEP", "RETRIED"):
        last = "RETRY" if kind == "RETRIED" and attempts == 0 else "SUCCEED"
        actions = ("START", last)
        return [update("STEP", action, operation_id) for action in actions]
    return [update(kind, "START", operation_id)]


class Simulation:
    """Everything around the handler. Counts the causes that an invocation can have."""

    def __init__(self, draw: Any, program: list[list[str]], *, hasty: bool) -> None:
        self.draw = draw
        self.scene = Scene(START)
        self.program = program
        self.hasty = hasty
        self.handler: Handler | None = None
        self.causes = 1

    def work(self) -> None:
        """Run the next move of the worker, if it has any."""
        scene = self.scene
        if self.handler is None:
            if wants_task(scene.state):
                self.handler = Handler(scene, self.program, hasty=self.hasty)
        elif self.handler.step():
            self.handler = None

    def disturb(self) -> None:
        match self.draw(st.sampled_from(["break", "return", "pause", "resume", "lost"])):
            case "break" if self.handler is not None:
                self.scene.complete("ERROR")
                self.handler = None
                self.causes += 1
            case "return" if self.handler is not None:
                self.scene.hand_back()
                self.handler = None
                self.causes += 1
            case "pause":
                self.scene.pause()
                self.causes += 1
            case "resume":
                self.scene.do(Resume())
            case "lost" if self.handler is not None and not self.scene.state.revoked:
                self.lose_an_answer(self.handler)
            case _:
                pass

    def lose_an_answer(self, handler: Handler) -> None:
        """Send a checkpoint, lose the answer, go on outside, and send it once more."""
        call = self.scene.call()
        self.scene.do(call)
        for _ in range(self.draw(st.integers(0, 2))):
            self.happen()
        self.answer_again(call, handler)

    def answer_again(self, call: Checkpoint, handler: Handler) -> None:
        scene = self.scene
        assert scene.do(call).record is None
        # An answer shows what it showed the first time, not what came later.
        last = scene.state.last_call
        assert last is not None
        handler.note(
            [
                operation
                for operation in changed_operations(scene.state)
                if scene.state.unseen.get(operation.id, 0) <= last.sequence
            ]
        )
        if scene.state.revoked:
            scene.complete("PENDING")
            self.handler = None
        else:
            token = call.token
            scene.token = current_token(scene.state, token.invocation_id, token.started_ms)

    def happen(self) -> bool:
        """End an open operation; return whether there was one."""
        scene = self.scene
        callbacks = self.open("CALLBACK")
        children = self.open("CHAINED_INVOKE")
        choices = [*callbacks, *children]
        due_ms = scene.state.alarms.next_due_ms()
        if scene.state.timed_open or scene.state.dispatch is Dispatch.BACKOFF:
            choices.append("time")
        if not choices:
            return False
        chosen = self.draw(st.sampled_from(choices))
        if chosen == "time":
            assert due_ms is not None
            decision = scene.wait(max(0, due_ms - scene.now_ms))
            assert decision.record is not None
            self.causes += len(decision.record.events)
            return True
        self.causes += 1
        if chosen in callbacks:
            scene.complete_callback(chosen)
        else:
            scene.end_child(chosen)
        return True

    def open(self, kind: str) -> list[str]:
        return [
            operation.id
            for operation in self.scene.state.operations.values()
            if operation.type == kind and operation.status is OperationStatus.STARTED
        ]

    def let_be(self) -> None:
        """Resume, and run undisturbed until the end."""
        self.scene.do(Resume())
        for _ in range(1_000):
            if not is_open(self.scene.state):
                return
            if self.handler is not None or wants_task(self.scene.state):
                self.work()
            else:
                assert self.happen(), f"stuck, waiting for {waiting_for(self.scene.state)}"
        raise AssertionError("it does not come to an end")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), program=programs, hasty=st.booleans(), steps=st.integers(0, 25))
def test_a_program_that_does_its_part_finishes(
    data: st.DataObject, program: list[list[str]], hasty: bool, steps: int
) -> None:
    simulation = Simulation(data.draw, program, hasty=hasty)
    moves = st.sampled_from([simulation.work] * 4 + [simulation.happen] * 2 + [simulation.disturb])
    for _ in range(steps):
        if is_open(simulation.scene.state):
            data.draw(moves)()
    if is_open(simulation.scene.state):
        simulation.let_be()
    assert simulation.scene.state.status == "SUCCEEDED"
    assert all(op.status not in OPERATION_OPEN for op in simulation.scene.state.operations.values())
    # And none is invented: each invocation has a cause.
    assert simulation.scene.invocations <= simulation.causes
