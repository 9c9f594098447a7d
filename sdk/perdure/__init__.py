"""Durable functions that you host: ordinary Python that outlives crashes and year-long waits.

    from perdure import DurableContext, durable_execution, durable_step

The client is loaded when it is first asked for, so that handlers and their tests need no gRPC.
"""

from typing import TYPE_CHECKING, Any

from perdure.context import DurableContext, durable_step
from perdure.exceptions import (
    CallbackError,
    CallbackExternalError,
    CallbackTimeoutError,
    DurableExecutionsError,
    DurableOperationError,
    ExecutionError,
    InvocationError,
    NonDeterministicExecutionError,
    RetryableSerDesError,
    SerDesError,
    StepError,
    ValidationError,
)
from perdure.execution import DurableFunction, durable_execution
from perdure.types import StepContext

if TYPE_CHECKING:
    from perdure.client import AsyncClient, Client, ClientError, ExecutionFailedError

__all__ = [
    "AsyncClient",
    "CallbackError",
    "CallbackExternalError",
    "CallbackTimeoutError",
    "Client",
    "ClientError",
    "DurableContext",
    "DurableExecutionsError",
    "DurableFunction",
    "DurableOperationError",
    "ExecutionError",
    "ExecutionFailedError",
    "InvocationError",
    "NonDeterministicExecutionError",
    "RetryableSerDesError",
    "SerDesError",
    "StepContext",
    "StepError",
    "ValidationError",
    "__version__",
    "durable_execution",
    "durable_step",
]

__version__ = "0.1.0"

_FROM_CLIENT = frozenset({"AsyncClient", "Client", "ClientError", "ExecutionFailedError"})


def __getattr__(name: str) -> Any:
    if name not in _FROM_CLIENT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from perdure import client  # noqa: PLC0415 - loads gRPC, which handlers do not need

    return getattr(client, name)
