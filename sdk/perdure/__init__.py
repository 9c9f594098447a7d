"""Durable functions that you host: ordinary Python that outlives crashes and year-long waits.

    from perdure import DurableContext, durable_execution, durable_step

The client is loaded when it is first asked for, so that handlers and their tests need no gRPC.
"""

from typing import TYPE_CHECKING, Any

from perdure.config import (
    BatchItemStatus,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    ParallelBranch,
    complete_batch,
    continue_batch,
)
from perdure.context import (
    DurableContext,
    DurableWait,
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
)
from perdure.context.async_context import AsyncCallback, AsyncDurableContext, AsyncDurableWait
from perdure.exceptions import (
    CallbackError,
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    ChildContextError,
    DurableExecutionsError,
    DurableOperationError,
    ExecutionError,
    InvocationError,
    InvokeError,
    NonDeterministicExecutionError,
    PluginLoadError,
    RetryableSerDesError,
    SerDesError,
    StepCancelledError,
    StepError,
    StepHeartbeatTimeoutError,
    StepTimeoutError,
    ValidationError,
    WaitCancelledError,
    WaitForConditionError,
)
from perdure.execution import DurableFunction, durable_execution
from perdure.functions.plain import PlainContext, PlainFunction, plain_function
from perdure.operations.composition import AnyOfError
from perdure.retries import WithRetryConfig, with_retry
from perdure.serdes.batch_result import BatchCompletionError, BatchItem, BatchResult
from perdure.types import StepContext

if TYPE_CHECKING:
    from perdure.client import AsyncClient, Client, ClientError, ExecutionFailedError

__all__ = [
    "AnyOfError",
    "AsyncCallback",
    "AsyncClient",
    "AsyncDurableContext",
    "AsyncDurableWait",
    "BatchCompletionError",
    "BatchItem",
    "BatchItemStatus",
    "BatchResult",
    "CallbackError",
    "CallbackExternalError",
    "CallbackSubmitterError",
    "CallbackTimeoutError",
    "ChildContextError",
    "Client",
    "ClientError",
    "CompletionDecision",
    "CompletionItemStatus",
    "CompletionOutcome",
    "CompletionStatus",
    "DurableContext",
    "DurableExecutionsError",
    "DurableFunction",
    "DurableOperationError",
    "DurableWait",
    "ExecutionError",
    "ExecutionFailedError",
    "InvocationError",
    "InvokeError",
    "NonDeterministicExecutionError",
    "ParallelBranch",
    "PlainContext",
    "PlainFunction",
    "PluginLoadError",
    "RetryableSerDesError",
    "SerDesError",
    "StepCancelledError",
    "StepContext",
    "StepError",
    "StepHeartbeatTimeoutError",
    "StepTimeoutError",
    "ValidationError",
    "WaitCancelledError",
    "WaitForConditionError",
    "WithRetryConfig",
    "__version__",
    "complete_batch",
    "continue_batch",
    "durable_execution",
    "durable_parallel_branch",
    "durable_step",
    "durable_wait_for_callback",
    "durable_with_child_context",
    "plain_function",
    "with_retry",
]

__version__ = "0.1.0"

_FROM_CLIENT = frozenset({"AsyncClient", "Client", "ClientError", "ExecutionFailedError"})


def __getattr__(name: str) -> Any:
    if name not in _FROM_CLIENT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from perdure import client  # noqa: PLC0415 - loads gRPC, which handlers do not need

    return getattr(client, name)
