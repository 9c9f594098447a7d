"""Public module: the client of a Perdure server.

Start executions, describe them, act on them, complete callbacks. `Client` is synchronous;
`AsyncClient` has the same methods, to be awaited.

    with Client() as client:
        print(client.run("order", {"order_id": "17"}, name="order-17"))
"""

# Before anything else loads gRPC.
from perdure_host.forks import quiet_grpc as _quiet  # noqa: F401 # pyright: ignore[reportUnusedImport]

# isort: split
from perdure.client.asynchronous import AsyncClient
from perdure.client.blocking import Client
from perdure.client.errors import (
    AlreadyExistsError,
    ClientError,
    ExecutionFailedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
    WaitTimeoutError,
)
from perdure.client.models import (
    ErrorDescription,
    ExecutionDescription,
    ExecutionSummary,
    FunctionDescription,
    HistoryEvent,
    OpenCallback,
    PauseDescription,
    QuarantinedItem,
    RetryDescription,
    StartedExecution,
    StoredRow,
)

__all__ = [
    "AlreadyExistsError",
    "AsyncClient",
    "Client",
    "ClientError",
    "ErrorDescription",
    "ExecutionDescription",
    "ExecutionFailedError",
    "ExecutionSummary",
    "FailedPreconditionError",
    "FunctionDescription",
    "HistoryEvent",
    "InvalidArgumentError",
    "NotFoundError",
    "OpenCallback",
    "PauseDescription",
    "PermissionDeniedError",
    "QuarantinedItem",
    "ResourceExhaustedError",
    "RetryDescription",
    "ServerError",
    "StartedExecution",
    "StoredRow",
    "UnauthenticatedError",
    "UnavailableError",
    "WaitTimeoutError",
]
