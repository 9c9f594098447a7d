"""What a handler is shown of a state."""

from perdure_core.model import (
    ContextDetails,
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
)
from perdure_core.state import State


def execution_operation(state: State) -> Operation:
    """Return the EXECUTION operation, which every first page begins with."""
    return Operation(
        id=state.execution_id,
        type=OperationType.EXECUTION,
        status=OperationStatus.STARTED,
        started_ms=state.started_ms,
        details=ExecutionDetails(state.input),
        name=state.name,
    )


def visible_operations(state: State) -> list[Operation]:
    """Return the operations that a replay needs, in order of start.

    What lies below a completed CONTEXT is left out, unless its result has to be made again from its
    children (Lambda API, GetDurableExecutionState).
    """
    hidden: dict[str, bool] = {}
    visible: list[Operation] = []
    for operation in state.operations.values():
        parent_id = operation.parent_id
        # Parents start before their children, so the parent's verdict is known.
        below = parent_id is not None and (hidden[parent_id] or _collapsed(state, parent_id))
        hidden[operation.id] = below
        if not below:
            visible.append(operation)
    return visible


def changed_operations(state: State) -> list[Operation]:
    """Return what the answer to the last accepted checkpoint carries."""
    assert state.last_call is not None
    return [state.operations[id_] for id_ in state.last_call.changed]


def _collapsed(state: State, context_id: str) -> bool:
    context = state.operations[context_id]
    if context.status is OperationStatus.STARTED:
        return False
    assert isinstance(context.details, ContextDetails)
    return not context.details.replay_children
