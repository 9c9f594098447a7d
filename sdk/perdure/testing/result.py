"""Result of an execution, as tests inspect it.

Names and fields are those of the AWS durable execution testing kit for Python 1.4 (runner).
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from perdure.testing.failures import DurableFunctionsTestError
from perdure.testing.history import ExecutionHistory
from perdure.testing.hosting import Execution
from perdure.testing.operations import (
    CallbackOperation,
    ContextOperation,
    ExecutionOperation,
    InvokeOperation,
    Operation,
    StepOperation,
    WaitOperation,
    all_operations,
    find_operation,
    view_execution,
    view_operations,
)
from perdure.testing.timeline import timeline
from perdure_core.model import ErrorObject, ExecutionStatus
from perdure_core.payload import text_of
from perdure_core.views import execution_operation


class InvocationStatus(StrEnum):
    """Outcome of the handler; PENDING while the execution has not ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PENDING = "PENDING"


@dataclass(frozen=True)
class DurableFunctionTestResult:
    """One execution after its end. `result` is JSON text; `value` is decoded from it.

    `operations` are the outermost ones, in order of start; they contain the others.
    """

    status: InvocationStatus
    operations: tuple[Operation, ...]
    result: str | None
    error: ErrorObject | None
    execution_status: ExecutionStatus
    execution: ExecutionOperation = field(repr=False)
    history: ExecutionHistory = field(repr=False)

    @property
    def value(self) -> Any:
        """The result of the handler; raises `DurableFunctionsTestError` if there is none."""
        if self.execution_status is not ExecutionStatus.SUCCEEDED:
            error = self.error or ErrorObject()
            raise DurableFunctionsTestError(
                f"The execution is {self.execution_status}: {error.type}: {error.message}\n"
                f"{timeline(self.history)}"
            )
        return None if self.result is None else json.loads(self.result)

    def get_operation_by_name(self, name: str) -> Operation:
        """Return the first operation of this name, outer ones first.

        Raises `DurableFunctionsTestError` when there is none; the methods below do so too when it
        is of another kind.
        """
        return find_operation(self.operations, name, Operation)

    def get_step(self, name: str) -> StepOperation:
        """Return the step of this name."""
        return find_operation(self.operations, name, StepOperation)

    def get_wait(self, name: str) -> WaitOperation:
        """Return the wait of this name."""
        return find_operation(self.operations, name, WaitOperation)

    def get_context(self, name: str) -> ContextOperation:
        """Return the context of this name."""
        return find_operation(self.operations, name, ContextOperation)

    def get_callback(self, name: str) -> CallbackOperation:
        """Return the callback of this name."""
        return find_operation(self.operations, name, CallbackOperation)

    def get_invoke(self, name: str) -> InvokeOperation:
        """Return the chained invoke of this name."""
        return find_operation(self.operations, name, InvokeOperation)

    def get_execution(self, name: str | None = None) -> ExecutionOperation:
        """Return the execution itself; raise if `name` is not its name."""
        if name not in (None, self.execution.name):
            raise DurableFunctionsTestError(
                f"The execution is named {self.execution.name!r}, not {name!r}."
            )
        return self.execution

    def get_all_operations(self) -> list[Operation]:
        """Return all operations, outer ones before those inside them."""
        return list(all_operations(self.operations))


_STATUSES = {
    ExecutionStatus.SUCCEEDED: InvocationStatus.SUCCEEDED,
    ExecutionStatus.RUNNING: InvocationStatus.PENDING,
    ExecutionStatus.PAUSING: InvocationStatus.PENDING,
    ExecutionStatus.PAUSED: InvocationStatus.PENDING,
}


def result_of(execution: Execution) -> DurableFunctionTestResult:
    """Return the current state of an execution."""
    state = execution.state
    return DurableFunctionTestResult(
        status=_STATUSES.get(state.status, InvocationStatus.FAILED),
        operations=view_operations(state.operations.values()),
        result=text_of(state.result),
        error=state.error,
        execution_status=state.status,
        execution=view_execution(execution_operation(state), text_of(state.input)),
        history=execution.history(),
    )
