"""Views of a state for handlers: which operations a replay or an answer carries."""

from collections.abc import Iterator
from itertools import islice

from perdure_core.model import (
    ContextDetails,
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
)
from perdure_core.state import State


def execution_operation(state: State) -> Operation:
    """Return the EXECUTION operation, the first of every first page."""
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

    What is below a completed CONTEXT is left out, unless its result must be rebuilt from its
    children (Lambda API, GetDurableExecutionState).
    """
    return [operation for _, operation in visible_from(state, 0)]


def visible_from(state: State, position: int) -> Iterator[tuple[int, Operation]]:
    """Yield the operations that a replay needs from a position on, with their positions.

    Positions count every started operation, visible or not. So they stay true while the state moves
    on, and skipping the operations before costs next to nothing. The state must not change
    meanwhile.
    """
    hidden: dict[str | None, bool] = {None: False}
    started = islice(state.operations.values(), position, None)
    for number, operation in enumerate(started, position):
        if not _below_collapsed(state, operation.parent_id, hidden):
            yield number, operation


def changed_operations(state: State) -> list[Operation]:
    """Return the operations that the answer to the last accepted checkpoint carries."""
    assert state.last_call is not None
    return [state.operations[id_] for id_ in state.last_call.changed]


def _below_collapsed(state: State, context_id: str | None, hidden: dict[str | None, bool]) -> bool:
    """Return whether the context, or one around it, hides its operations.

    `hidden` caches the results.
    """
    path: list[str | None] = []
    while context_id not in hidden:
        # None is known, so this is the id of a context.
        assert context_id is not None
        path.append(context_id)
        if _collapsed(state, context_id):
            hidden[context_id] = True
            break
        context_id = state.operations[context_id].parent_id
    is_hidden = hidden[context_id]
    hidden.update(dict.fromkeys(path, is_hidden))
    return is_hidden


def _collapsed(state: State, context_id: str) -> bool:
    context = state.operations[context_id]
    if context.status is OperationStatus.STARTED:
        return False
    assert isinstance(context.details, ContextDetails)
    return not context.details.replay_children
