"""An execution with its clock and its worker, for tests: commands go in, records are collected.

Every decision is checked on its way: it changes nothing, its record survives encoding, and the host
would find no reason to doubt the state that it leads to.
"""

from typing import Any, cast

import msgspec

from perdure_core.alarms import Alarms
from perdure_core.commands import (
    AlarmDue,
    Checkpoint,
    CheckpointToken,
    ChildEnded,
    Command,
    Complete,
    CompleteCallback,
    CompletionStatus,
    HandBack,
    Pause,
    Start,
)
from perdure_core.decision import Decision, Delivery
from perdure_core.events import Event, Record, decode_record, encode_record, is_public
from perdure_core.execution import begin, current_token, decide
from perdure_core.fold import apply
from perdure_core.model import (
    ErrorObject,
    Operation,
    OperationAction,
    OperationType,
    OperationUpdate,
)
from perdure_core.refusals import Refused
from perdure_core.state import State, wants_task
from perdure_core.views import changed_operations

EXECUTION_ID = "0123456789abcdef0123456789abcdef"
ORDER = Start(
    namespace="default",
    function="order",
    name="order-7",
    execution_id=EXECUTION_ID,
    timeout_s=3_600,
    retention_days=14,
)


def update(kind: str, action: str, operation_id: str, **fields: Any) -> OperationUpdate:
    """Return an update; durations that it needs are one second by default."""
    if kind == "WAIT" and action == "START":
        fields.setdefault("wait_ms", 1_000)
    if action == "RETRY":
        fields.setdefault("next_attempt_delay_ms", 1_000)
    if kind == "CHAINED_INVOKE":
        fields.setdefault("function", "child")
    return OperationUpdate(
        id=operation_id, type=OperationType(kind), action=OperationAction(action), **fields
    )


def snapshot(state: State) -> dict[str, bytes]:
    """Return every field of the state, encoded, for comparisons."""
    return {
        name: msgspec.msgpack.encode(getattr(state, name), enc_hook=_alarms)
        for name in State.__struct_fields__
    }


def _alarms(value: object) -> object:
    assert isinstance(value, Alarms)
    return sorted(cast("Alarms[str]", value).snapshot().items())


class Scene:
    """One execution. `token` is the one that the worker holds, if any."""

    def __init__(self, start: Start = ORDER, now_ms: int = 1_000_000) -> None:
        self.now_ms = now_ms
        self.records: list[Record] = [begin(start, now_ms)]
        self.deliveries: list[Delivery] = []
        self.state = apply(None, self.records[0])
        self.token: CheckpointToken | None = None
        self.calls = 0
        self.invocations = 0

    def do(self, command: Command) -> Decision:
        """Decide and fold. Raises the core's refusals."""
        before = snapshot(self.state)
        try:
            decision = decide(self.state, command, self.now_ms)
        finally:
            assert snapshot(self.state) == before
        if decision.record is not None:
            record = decode_record(encode_record(decision.record))
            assert record == decision.record
            self.records.append(record)
            apply(self.state, record)
        self.deliveries += decision.deliveries
        return decision

    def refusal(self, command: Command) -> Refused:
        """Return the core's refusal of a command that it must refuse."""
        try:
            self.do(command)
        except Refused as refused:
            return refused
        raise AssertionError(f"accepted: {command}")

    def take(self) -> CheckpointToken:
        """Start an invocation."""
        assert wants_task(self.state)
        self.invocations += 1
        self.token = current_token(self.state, f"i{self.invocations}", self.now_ms)
        return self.token

    def call(self, *updates: OperationUpdate, targets: tuple[str, ...] = ("child",)) -> Checkpoint:
        """Return the worker's next checkpoint."""
        assert self.token is not None
        self.calls += 1
        return Checkpoint(
            token=self.token,
            client_token=f"c{self.calls}",
            updates=updates,
            callback_ids={
                update.id: f"id-of-{update.id}"
                for update in updates
                if update.type is OperationType.CALLBACK
            },
            targets=dict.fromkeys(targets, True),
        )

    def checkpoint(self, *updates: OperationUpdate) -> list[Operation]:
        """Send the worker's next checkpoint; return the operations of its answer."""
        return self.send(self.call(*updates))

    def send(self, command: Checkpoint) -> list[Operation]:
        """Send a checkpoint and adopt the token of its answer."""
        self.do(command)
        if not self.state.revoked:
            token = command.token
            self.token = current_token(self.state, token.invocation_id, token.started_ms)
        return changed_operations(self.state)

    def complete(
        self,
        status: str = "PENDING",
        result: str | None = None,
        error: ErrorObject | None = None,
    ) -> Decision:
        """End the invocation."""
        token = self.held()
        decision = self.do(
            Complete(token=token, status=CompletionStatus(status), result=result, error=error)
        )
        self.token = None
        return decision

    def hand_back(self) -> Decision:
        """Hand the invocation back."""
        decision = self.do(HandBack(self.held()))
        self.token = None
        return decision

    def held(self) -> CheckpointToken:
        """Return the token that the worker holds."""
        assert self.token is not None
        return self.token

    def wait(self, ms: int) -> Decision:
        """Advance the clock, then fire what is due."""
        self.now_ms += ms
        return self.do(AlarmDue())

    def complete_callback(self, operation_id: str, result: str | None = None) -> Decision:
        """Succeed a callback."""
        return self.do(CompleteCallback(operation_id=operation_id, succeeded=True, result=result))

    def end_child(self, operation_id: str, result: str | None = None) -> Decision:
        """Report that a child succeeded."""
        return self.do(ChildEnded(operation_id=operation_id, status="SUCCEEDED", result=result))

    def pause(self, *, timeout_paused: bool = True) -> Decision:
        """Request a pause, as a host that knows whether an invocation runs."""
        return self.do(Pause(running=self.token is not None, timeout_paused=timeout_paused))

    def history(self) -> list[str]:
        """Return the names of the public events."""
        return [type(event).__name__ for event in self.events() if is_public(event)]

    def events(self) -> list[Event]:
        """Return all events, private ones too."""
        return [event for record in self.records for event in record.events]
