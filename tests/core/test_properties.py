"""Invariants of an execution, whatever commands come in whatever order.

The machine below plays a careless host: it hands invocations out twice, repeats calls, sends stale
tokens, makes clocks jump and sends commands that the state forbids.
"""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from perdure_core import operations
from perdure_core.commands import (
    AlarmDue,
    Checkpoint,
    CheckpointToken,
    ChildEnded,
    Command,
    Complete,
    CompleteCallback,
    CompletionStatus,
    Delete,
    HandBack,
    HeartbeatCallback,
    Pause,
    Resume,
    Start,
    Stop,
)
from perdure_core.decision import NOTHING, Decision, ReportEnd, StartChild
from perdure_core.events import (
    DeletionRequested,
    ExecutionFailed,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    OperationEvent,
    ParentLink,
    decode_record,
    encode_record,
    is_public,
    public_count,
)
from perdure_core.execution import current_token, is_current, is_repeat
from perdure_core.fold import fold
from perdure_core.model import (
    ErrorObject,
    ExecutionStatus,
    Operation,
    OperationAction,
    OperationStatus,
    OperationUpdate,
)
from perdure_core.refusals import Invalid, Refused, StaleToken
from perdure_core.state import (
    DEADLINE,
    INVOCATION_RETRY,
    Dispatch,
    is_open,
    waiting_for,
    wants_task,
)
from perdure_core.views import changed_operations, visible_from, visible_operations
from tests.core.scene import EXECUTION_ID, Scene, snapshot, update

IDS = ["a", "b", "c", "d"]
CANCEL = OperationAction.CANCEL
ENDINGS = (ExecutionSucceeded, ExecutionFailed, ExecutionTimedOut, ExecutionStopped)
ERROR = ErrorObject("boom", "ValueError")
MOSTLY = [True] * 9 + [False]
OUTCOMES: list[Any] = ["PENDING"] * 7 + ["ERROR"] * 3 + ["SUCCEEDED", "FAILED", "DIVERGED"]
ENDS: list[Any] = ["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"]
HOUR_MS = 3_600_000

Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def an_update(draw: st.DrawFn) -> OperationUpdate:
    """Return an update that is well-formed; whether it fits the state is left to chance."""
    kind, action = draw(
        st.sampled_from(
            [
                *[("STEP", action) for action in ("START", "SUCCEED", "FAIL", "RETRY", "RETRY")],
                ("STEP", "HEARTBEAT"),
                *[("CONTEXT", action) for action in ("START", "SUCCEED", "FAIL")],
                ("WAIT", "START"),
                ("WAIT", "CANCEL"),
                ("CALLBACK", "START"),
                ("CHAINED_INVOKE", "START"),
            ]
        )
    )
    # A kind has ids of its own, so that most updates hit an operation of their type.
    fields: dict[str, Any] = {}
    if action == "FAIL" or (action == "RETRY" and draw(st.booleans())):
        fields["error"] = ERROR
    elif action in ("SUCCEED", "RETRY", "HEARTBEAT"):
        fields["payload"] = draw(st.sampled_from([None, "1"]))
    if kind == "WAIT" and action == "START":
        fields["wait_ms"] = draw(st.sampled_from([1, 1_000, 60_000]))
    if kind == "CALLBACK":
        fields["timeout_s"] = draw(st.sampled_from([0, 5]))
        fields["heartbeat_timeout_s"] = draw(st.sampled_from([0, 2]))
    if kind == "CHAINED_INVOKE":
        fields["function"] = draw(st.sampled_from(["child", "missing"]))
    name = draw(st.sampled_from(IDS))
    if kind != "CONTEXT":
        fields["parent_id"] = draw(st.sampled_from([None, None, "CONTEXT-a", "CONTEXT-b"]))
    elif name == "b":
        fields["parent_id"] = "CONTEXT-a"
    return update(kind, action, f"{kind}-{name}", **fields)


START = Start(
    namespace="default",
    function="order",
    name="order-7",
    execution_id=EXECUTION_ID,
    timeout_s=86_400,
    retention_days=1,
    input="{}",
    parent=ParentLink(3, "f" * 32, "inv"),
)

batches = st.lists(an_update(), max_size=4)


class CarelessHost:
    """Does everything that a host can do, right and wrong."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.scene = Scene(START)
        # Turns that a worker may hold, and those of which it is certain that they have passed.
        self.held: list[CheckpointToken] = []
        self.passed: list[CheckpointToken] = []
        self.last: Checkpoint | None = None
        self.changed: set[str] = set()

    def ask(self, command: Command) -> Decision | None:
        """Run the call, or return None if it is refused; nothing may have changed then."""
        state = self.scene.state
        before = snapshot(state)
        due_before = state.alarms.snapshot()
        try:
            decision = self.scene.do(command)
        except Refused:
            assert snapshot(state) == before
            return None
        if decision.record is None:
            assert decision == NOTHING
            assert snapshot(state) == before
        elif isinstance(command, AlarmDue):
            self.fired_when_due(decision, due_before)
        self.reports_its_end_once(decision)
        return decision

    def fired_when_due(self, decision: Decision, due_before: dict[str, int]) -> None:
        """Check that no timer fired early and none that was due was left."""
        record, now_ms = decision.record, self.scene.now_ms
        assert record is not None
        due = {alarm_id for alarm_id, due_ms in due_before.items() if due_ms <= now_ms}
        assert len(record.events) <= len(due)
        for event in record.events:
            if isinstance(event, OperationEvent):
                assert event.subject.id in due
        next_due_ms = self.scene.state.alarms.next_due_ms()
        assert next_due_ms is None or next_due_ms > now_ms

    def reports_its_end_once(self, decision: Decision) -> None:
        record = decision.record
        endings = [] if record is None else [e for e in record.events if isinstance(e, ENDINGS)]
        reports = [d for d in decision.deliveries if isinstance(d, ReportEnd)]
        assert len(reports) == len(endings) <= 1
        if endings:
            assert record is not None
            assert record.events[-1] is endings[0]
            assert reports[0].status == self.scene.state.status

    def pass_all(self) -> None:
        self.passed += self.held
        self.held = []
        self.last = None

    def hand_out(self) -> None:
        if wants_task(self.scene.state):
            self.held.append(self.scene.take())

    def checkpoint(self) -> None:
        scene, updates = self.scene, self.draw(batches)
        if not self.held:
            self.hand_out()
        if not self.held:
            return
        scene.token = token = self.draw(st.sampled_from(self.held))
        command = scene.call(*updates)
        may_act = is_current(scene.state, token) and not scene.state.revoked
        unseen = {k for k, changed in scene.state.unseen.items() if changed > token.seen}
        decision = self.ask(command)
        if decision is None:
            return
        assert may_act
        # Everything that the handler did not know, and all that it did itself.
        self.changed = {operation.id for operation in changed_operations(scene.state)}
        # The cancellation of a wait that is over changes nothing.
        assert decision.record is not None
        own = {e.subject.id for e in decision.record.events if isinstance(e, OperationEvent)}
        assert self.changed == unseen | own
        assert own >= {update.id for update in updates if update.action is not CANCEL}
        started = [d.parent.operation_id for d in decision.deliveries if isinstance(d, StartChild)]
        assert started == [update.id for update in updates if update.function == "child"]
        self.accepted(command)

    def record_outcome(self) -> None:
        if not self.held or self.seldom():
            return
        self.scene.token = self.draw(st.sampled_from(self.held))
        command = self.scene.call(update("EXECUTION", "SUCCEED", EXECUTION_ID, payload="big"))
        if self.ask(command) is not None:
            self.changed = {operation.id for operation in changed_operations(self.scene.state)}
            self.accepted(command)
            assert self.scene.state.revoked

    def accepted(self, command: Checkpoint) -> None:
        token = command.token
        self.pass_all()
        self.last = command
        if self.scene.state.revoked:
            # It may still end the invocation, with the turn that it had.
            self.passed.remove(token)
            self.held = [token]
        else:
            self.held = [current_token(self.scene.state, token.invocation_id, token.started_ms)]

    def repeat_checkpoint(self) -> None:
        if self.last is None:
            return
        state = self.scene.state
        assert is_repeat(state, self.last)
        assert self.ask(self.last) == NOTHING
        assert {operation.id for operation in changed_operations(state)} == self.changed
        if is_open(state) and not state.revoked:
            # The token of the answer is the same as the first time, whatever came after it.
            token = self.last.token
            assert self.held == [current_token(state, token.invocation_id, token.started_ms)]

    def act_out_of_turn(self) -> None:
        if not self.passed:
            return
        self.scene.token = token = self.draw(st.sampled_from(self.passed))
        for command in (self.scene.call(*self.draw(batches)), HandBack(token)):
            assert isinstance(self.scene.refusal(command), StaleToken | Invalid)

    def complete(self) -> None:
        if not self.held:
            return
        state, token = self.scene.state, self.draw(st.sampled_from(self.held))
        missed = state.news or state.revoked
        missed = missed or any(changed > token.seen for changed in state.unseen.values())
        command = Complete(token=token, status=self.draw(st.sampled_from(OUTCOMES)))
        if command.status == "PENDING" and not (state.timed_open or state.callbacks_open):
            return
        if self.ask(command) is None:
            return
        self.pass_all()
        if is_open(state) and command.status == "PENDING":
            # The handler's own updates do not wake it; whatever else it may have missed does.
            assert (state.dispatch is Dispatch.WANTED) is missed
        assert self.ask(command) == NOTHING

    def hand_back(self) -> None:
        if not self.held:
            return
        token = self.draw(st.sampled_from(self.held))
        if self.ask(HandBack(token)) is not None:
            self.pass_all()
            # The end of the invocation is not recorded.
            completion = Complete(token=token, status=CompletionStatus.SUCCEEDED)
            assert isinstance(self.scene.refusal(completion), StaleToken)

    def let_time_pass(self) -> None:
        self.scene.now_ms += self.draw(st.sampled_from([0, 1, 999, 1_000, 2_000, 30_000]))
        self.ask(AlarmDue())

    def look_on_the_dot(self) -> None:
        """Fire timers exactly when the next alarm is due, or a millisecond before."""
        scene, early = self.scene, self.draw(st.booleans())
        due_ms = scene.state.alarms.next_due_ms()
        if due_ms is None or (due_ms - scene.now_ms > HOUR_MS and self.seldom()):
            return
        scene.now_ms = max(scene.now_ms, due_ms - early)
        decision = self.ask(AlarmDue())
        assert decision is not None
        assert (decision.record is None) is (scene.now_ms < due_ms)

    def call_back(self) -> None:
        operation_id = f"CALLBACK-{self.draw(st.sampled_from(IDS))}"
        self.ask(CompleteCallback(operation_id=operation_id, succeeded=self.draw(st.booleans())))

    def heartbeat(self) -> None:
        dispatch = self.scene.state.dispatch
        self.ask(HeartbeatCallback(f"CALLBACK-{self.draw(st.sampled_from(IDS))}"))
        assert self.scene.state.dispatch is dispatch

    def end_child(self) -> None:
        operation_id = f"CHAINED_INVOKE-{self.draw(st.sampled_from(IDS))}"
        self.ask(ChildEnded(operation_id=operation_id, status=self.draw(st.sampled_from(ENDS))))

    def pause(self) -> None:
        running, timeout_paused = self.draw(st.tuples(st.booleans(), st.booleans()))
        self.ask(Pause(running=running, timeout_paused=timeout_paused))

    def resume(self) -> None:
        self.ask(Resume())

    def stop(self) -> None:
        if not self.seldom():
            self.ask(Stop())

    def delete(self) -> None:
        self.ask(Delete())

    def seldom(self) -> bool:
        """Return False, seldom."""
        return bool(self.draw(st.sampled_from(MOSTLY)))

    def check(self) -> None:
        """Assert all that always holds."""
        self.an_open_execution_is_reachable()
        self.a_pause_waits_for_an_invocation_only_if_there_is_one()
        self.it_ends_at_most_once_and_then_can_only_be_deleted()
        self.alarms_are_those_of_what_is_open()
        self.counters_equal_a_recount()
        self.event_numbers_are_dense()
        self.what_a_handler_sees_hangs_together()
        self.folding_from_the_start_gives_the_same()

    def an_open_execution_is_reachable(self) -> None:
        state = self.scene.state
        assert waiting_for(state) != "nothing"
        assert (waiting_for(state) == "ended") is not is_open(state)
        assert not wants_task(state) or state.status is ExecutionStatus.RUNNING

    def a_pause_waits_for_an_invocation_only_if_there_is_one(self) -> None:
        state = self.scene.state
        if state.status is ExecutionStatus.PAUSING:
            assert state.dispatch in (Dispatch.WANTED, Dispatch.RUNNING)
        if state.status is ExecutionStatus.PAUSED:
            assert state.dispatch is not Dispatch.RUNNING
        assert (state.pause is not None) is (state.status in ("PAUSING", "PAUSED"))

    def it_ends_at_most_once_and_then_can_only_be_deleted(self) -> None:
        events = self.scene.events()
        endings = [at for at, event in enumerate(events) if isinstance(event, ENDINGS)]
        assert len(endings) <= 1
        if endings:
            after = events[endings[0] + 1 :]
            assert all(isinstance(event, DeletionRequested) for event in after)
            assert len(after) <= 1
        assert is_open(self.scene.state) is not bool(endings)

    def alarms_are_those_of_what_is_open(self) -> None:
        state = self.scene.state
        alarms = state.alarms.snapshot()
        if not is_open(state):
            assert alarms == {}
            return
        deadline_ms = alarms.pop(DEADLINE)
        if not (state.pause and state.pause.began_ms is not None and state.pause.timeout_paused):
            assert deadline_ms == state.deadline_ms
        assert (alarms.pop(INVOCATION_RETRY, None) is not None) is (
            state.dispatch is Dispatch.BACKOFF
        )
        assert alarms == {
            operation.id: due_ms
            for operation in self.in_open_contexts()
            if (due_ms := operations.due_ms(operation)) is not None
        }

    def in_open_contexts(self) -> list[Operation]:
        """Return the operations that are inside no ended context."""
        known = self.scene.state.operations

        def is_open(parent_id: str | None) -> bool:
            if parent_id is None:
                return True
            parent = known[parent_id]
            return parent.status is OperationStatus.STARTED and is_open(parent.parent_id)

        return [each for each in known.values() if is_open(each.parent_id)]

    def counters_equal_a_recount(self) -> None:
        state = self.scene.state
        kinds = [operations.pending(operation) for operation in self.in_open_contexts()]
        assert state.timed_open == kinds.count("timed")
        assert state.callbacks_open == kinds.count("callback")
        assert state.children_open == kinds.count("child")

    def event_numbers_are_dense(self) -> None:
        scene = self.scene
        public = [event for event in scene.events() if is_public(event)]
        assert scene.state.event_count == len(public)
        assert sum(public_count(record) for record in scene.records) == len(public)
        assert scene.state.sequence == len(scene.records)

    def what_a_handler_sees_hangs_together(self) -> None:
        state = self.scene.state
        seen: set[str] = set()
        for operation in visible_operations(state):
            assert operation.parent_id is None or operation.parent_id in seen
            seen.add(operation.id)
        whole = list(visible_from(state, 0))
        for position in range(len(state.operations) + 1):
            rest = [each for each in whole if each[0] >= position]
            assert list(visible_from(state, position)) == rest

    def folding_from_the_start_gives_the_same(self) -> None:
        records = [decode_record(encode_record(record)) for record in self.scene.records]
        assert snapshot(fold(records)) == snapshot(self.scene.state)


ACTIONS: dict[Callable[[CarelessHost], None], int] = {
    CarelessHost.checkpoint: 8,
    CarelessHost.complete: 3,
    CarelessHost.hand_out: 1,
    CarelessHost.hand_back: 1,
    CarelessHost.record_outcome: 1,
    CarelessHost.repeat_checkpoint: 2,
    CarelessHost.act_out_of_turn: 2,
    CarelessHost.let_time_pass: 2,
    CarelessHost.look_on_the_dot: 2,
    CarelessHost.call_back: 2,
    CarelessHost.heartbeat: 1,
    CarelessHost.end_child: 2,
    CarelessHost.pause: 1,
    CarelessHost.resume: 2,
    CarelessHost.stop: 1,
    CarelessHost.delete: 1,
}
actions = st.sampled_from([action for action, weight in ACTIONS.items() for _ in range(weight)])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), steps=st.integers(30, 60))
def test_whatever_a_host_does_an_execution_stays_sound(data: st.DataObject, steps: int) -> None:
    host = CarelessHost(data.draw)
    for _ in range(steps):
        data.draw(actions)(host)
        host.check()
    host.folding_from_the_start_gives_the_same()
