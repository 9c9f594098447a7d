"""Decisions on a checkpoint: a batch of updates, in order, all or nothing.

Later updates of a batch may build on earlier ones, so they are decided over a draft: copies of the
operations that later updates refer to, with the batch's events folded in. The state is not touched.
Source of the rules: Lambda durable functions, CheckpointDurableExecution validations.
"""

import copy

import msgspec

from perdure_core import limits, operations, validation
from perdure_core.commands import Checkpoint
from perdure_core.decision import StartChild
from perdure_core.events import (
    AnyOperationEvent,
    Event,
    OutcomeRecorded,
    ParentLink,
    Subject,
)
from perdure_core.identity import bucket_of, child_identity
from perdure_core.model import (
    ErrorObject,
    Operation,
    OperationAction,
    OperationType,
    OperationUpdate,
)
from perdure_core.operations import callback, chained_invoke, context, step, wait
from perdure_core.refusals import Invalid
from perdure_core.state import State, identity_of


class Draft:
    """The operations as the batch leaves them, and the events that lead there."""

    def __init__(self, state: State, command: Checkpoint, now_ms: int) -> None:
        self.events: list[Event] = []
        self.has_outcome = False
        self.children: list[StartChild] = []
        self._new = 0
        self._state = state
        self._command = command
        self._now_ms = now_ms
        self._copies: dict[str, Operation] = {}
        # Folded only when a later update needs it: most operations are touched once in a batch.
        self._unfolded: dict[str, tuple[AnyOperationEvent, ...]] = {}

    def update(self, update: OperationUpdate) -> None:
        """Decide one update. Raises Invalid."""
        if update.type is OperationType.EXECUTION:
            validation.check_labels(update)
            self.events.append(_outcome(update))
            self.has_outcome = True
            return
        operation = self._find(update.id)
        if operation is None:
            validation.check_labels(update)
            self._check_parent(update)
            self._check_count(update)
        else:
            _check_identity(operation, update)
        subject = Subject(update.id, update.name, update.sub_type, update.parent_id)
        events = self._decide(operation, update, subject)
        self._unfolded[update.id] = events
        self.events += events

    def _decide(
        self, operation: Operation | None, update: OperationUpdate, subject: Subject
    ) -> tuple[AnyOperationEvent, ...]:
        match update.type:
            case OperationType.STEP:
                return (step.decide_update(operation, update, subject),)
            case OperationType.WAIT:
                event = wait.decide_update(operation, update, subject, self._now_ms)
                return () if event is None else (event,)
            case OperationType.CONTEXT:
                return (context.decide_update(operation, update, subject),)
            case OperationType.CALLBACK:
                callback_id = self._command.callback_ids.get(update.id)
                return (callback.decide_update(operation, update, subject, callback_id),)
            case OperationType.CHAINED_INVOKE:
                return self._decide_chained(operation, update, subject)
            case OperationType.EXECUTION:
                raise AssertionError(update)

    def _decide_chained(
        self, operation: Operation | None, update: OperationUpdate, subject: Subject
    ) -> tuple[AnyOperationEvent, ...]:
        assert update.function is not None
        state = self._state
        exists = self._command.targets.get(update.function, False)
        child = child_identity(identity_of(state), update.id, update.function) if exists else None
        events = chained_invoke.decide_update(operation, update, subject, child)
        if child is not None:
            bucket = bucket_of(state.namespace, state.function, state.name)
            self.children.append(
                StartChild(
                    namespace=child.namespace,
                    function=child.function,
                    name=child.name,
                    execution_id=child.execution_id,
                    parent=ParentLink(bucket, state.execution_id, update.id),
                    input=update.payload,
                    tenant_id=update.tenant_id,
                    trace_header=update.trace_header or state.trace_header,
                )
            )
        return events

    def _find(self, operation_id: str) -> Operation | None:
        """Return the operation as the batch leaves it so far."""
        operation = self._copies.get(operation_id) or self._state.operations.get(operation_id)
        unfolded = self._unfolded.pop(operation_id, None)
        if unfolded is None:
            return operation
        if operation is not None and operation_id not in self._copies:
            operation = msgspec.structs.replace(operation, details=copy.copy(operation.details))
        for event in unfolded:
            operation = operations.apply(operation, event, self._now_ms)
        assert operation is not None
        self._copies[operation_id] = operation
        return operation

    def _check_count(self, update: OperationUpdate) -> None:
        self._new += 1
        if len(self._state.operations) + self._new > limits.OPERATIONS_MAX:
            raise Invalid(
                f"operation {update.id!r} is one too many: an execution holds at most"
                f" {limits.OPERATIONS_MAX:,}; continue in a chained invoke"
            )

    def _check_parent(self, update: OperationUpdate) -> None:
        if update.parent_id is None:
            return
        parent = self._find(update.parent_id)
        if parent is None or parent.type is not OperationType.CONTEXT:
            raise Invalid(
                f"parent {update.parent_id!r} of operation {update.id!r} must be a CONTEXT that was"
                " started before"
            )


def decide_updates(state: State, command: Checkpoint, now_ms: int) -> Draft:
    """Return the draft after all updates. Raises Invalid, and then nothing has changed."""
    validation.check_batch(command.updates)
    draft = Draft(state, command, now_ms)
    for update in command.updates:
        draft.update(update)
    return draft


def _check_identity(operation: Operation, update: OperationUpdate) -> None:
    """Raise Invalid when the update contradicts what is recorded; it may leave fields out."""
    if (
        operation.type is update.type
        and operation.sub_type == update.sub_type
        and operation.name == update.name
        and operation.parent_id == update.parent_id
    ):
        return
    for field, recorded, sent in (
        ("type", operation.type, update.type),
        ("sub-type", operation.sub_type, update.sub_type),
        ("name", operation.name, update.name),
        ("parent id", operation.parent_id, update.parent_id),
    ):
        if sent is not None and recorded != sent:
            raise Invalid(
                f"operation {update.id!r} was recorded with {field} {_label(recorded)},"
                f" but the update has {_label(sent)}"
            )


def _label(label: str | None) -> str:
    return "none" if label is None else repr(str(label))


def _outcome(update: OperationUpdate) -> OutcomeRecorded:
    succeeded = update.action is OperationAction.SUCCEED
    error = None if succeeded else update.error or ErrorObject()
    return OutcomeRecorded(succeeded, update.payload, error)
