"""Base class of plugins, and what their hooks receive. Plugins observe executions only.

A worker creates plugins for each invocation, with the factories of its function:

    @durable_execution(plugins=[TimingFactory()])

`DurableInstrumentationPlugin` documents where and when each hook is called. Names, fields,
defaults and rules are those of the AWS Lambda durable execution SDK for Python 3.0 (plugin);
`docs/plugins.md` lists the differences.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol, Self

from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    Details,
    ErrorObject,
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
    WaitDetails,
)
from perdure_core.payload import text_of
from perdure_core.timestamps import from_epoch_ms

__all__ = [
    "DurableInstrumentationPlugin",
    "DurableInstrumentationPluginFactory",
    "InvocationEndInfo",
    "InvocationInfo",
    "InvocationStartInfo",
    "InvocationStatus",
    "OperationChangeInfo",
    "OperationEndInfo",
    "OperationInfo",
    "OperationStartInfo",
    "OperationType",
    "PropagationInput",
    "PropagationMetadata",
    "UserFunctionEndInfo",
    "UserFunctionOutcome",
    "UserFunctionStartInfo",
]


class InvocationStatus(Enum):
    """Outcome of an invocation."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PENDING = "PENDING"
    RETRY = "RETRY"


class UserFunctionOutcome(Enum):
    """Outcome of a user function. INCOMPLETE: it suspended, or was stopped."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    INCOMPLETE = "INCOMPLETE"

    @classmethod
    def from_error(cls, error: ErrorObject | None) -> "UserFunctionOutcome":
        """Return FAILED if there is an error, SUCCEEDED if there is none."""
        return cls.SUCCEEDED if error is None else cls.FAILED


@dataclass(frozen=True)
class OperationInfo:
    """State of one operation at some time.

    `result` is the recorded text. `attempt` is the number of attempts of a step that have ended,
    and in the hooks of its function the number of the running one, from 1.
    """

    operation_id: str
    operation_type: OperationType
    sub_type: str | None
    name: str | None
    parent_id: str | None
    start_time: datetime | None
    is_replayed: bool
    status: OperationStatus
    end_time: datetime | None = field(default=None, kw_only=True)
    result: str | None = field(default=None, kw_only=True)
    error: ErrorObject | None = field(default=None, kw_only=True)
    attempt: int | None = field(default=None, kw_only=True)

    @staticmethod
    def from_operation(operation: Operation, *, is_replayed: bool = False) -> "OperationInfo":
        """Return the state of a recorded operation."""
        details = operation.details
        result, error = _outcome(details)
        return OperationInfo(
            operation_id=operation.id,
            operation_type=operation.type,
            sub_type=operation.sub_type,
            name=operation.name,
            parent_id=operation.parent_id,
            start_time=from_epoch_ms(operation.started_ms),
            is_replayed=is_replayed,
            status=operation.status,
            end_time=None if operation.ended_ms is None else from_epoch_ms(operation.ended_ms),
            result=result,
            error=error,
            attempt=details.attempt if isinstance(details, StepDetails) else None,
        )


@dataclass(frozen=True)
class OperationStartInfo(OperationInfo):
    """An operation that starts, or (`is_replayed`) is replayed before it has ended."""


@dataclass(frozen=True)
class OperationEndInfo(OperationInfo):
    """An operation that has ended."""


@dataclass(frozen=True)
class OperationChangeInfo:
    """Operations whose status has changed, and all operations at that time, by id."""

    execution_arn: str | None
    updated_operations: dict[str, OperationInfo]
    operations: dict[str, OperationInfo]


@dataclass(frozen=True)
class UserFunctionStartInfo(OperationInfo):
    """A user function that is about to be called.

    `is_replay_children`: its result was too large to record; it runs again over its recorded
    children.
    """

    is_replay_children: bool = False


@dataclass(frozen=True)
class UserFunctionEndInfo(OperationInfo):
    """A user function that has returned, raised, or been stopped."""

    is_replay_children: bool
    outcome: UserFunctionOutcome

    @classmethod
    def from_start_info(
        cls,
        start_info: UserFunctionStartInfo,
        error: ErrorObject | None,
        *,
        outcome: UserFunctionOutcome | None = None,
    ) -> Self:
        """Return the end, now, of the function in `start_info`."""
        fields: dict[str, Any] = {**vars(start_info), "end_time": datetime.now(UTC)}
        fields["outcome"] = outcome or UserFunctionOutcome.from_error(error)
        fields["error"] = error
        return cls(**fields)


@dataclass(frozen=True)
class InvocationInfo:
    """One invocation: one delivery of an execution to a worker.

    `request_id` is the id of the invocation. `execution_input` is the plugin's own copy of the
    payload: plain JSON values, `{}` if there is none. `operations` has all recorded operations by
    id, the execution itself among them. `trace_header` is that with which the execution was
    started, as in X-Amzn-Trace-Id. Payloads are neither compared nor included in `repr`, so that
    logging an info logs no secrets.
    """

    request_id: str | None
    execution_arn: str | None
    is_first_invocation: bool
    execution_start_time: datetime | None = None
    execution_input: Any = field(default=None, kw_only=True, repr=False, compare=False, hash=False)
    operations: dict[str, OperationInfo] = field(
        default_factory=dict[str, OperationInfo],
        kw_only=True,
        repr=False,
        compare=False,
        hash=False,
    )
    trace_header: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class InvocationStartInfo(InvocationInfo):
    """An invocation that starts; `updated_operations` changed while the execution was suspended."""

    updated_operations: dict[str, OperationInfo] = field(
        default_factory=dict[str, OperationInfo],
        kw_only=True,
        repr=False,
        compare=False,
        hash=False,
    )


@dataclass(frozen=True)
class InvocationEndInfo(InvocationInfo):
    """An invocation that has ended; `execution_result` is JSON, if the execution succeeds.

    PENDING: the execution waits for something. RETRY: the invocation failed, was given to another
    worker, or requested other operations than are recorded; the handler runs again.
    """

    status: InvocationStatus = field(kw_only=True)
    error: ErrorObject | None = field(default=None)
    execution_result: str | None = field(
        default=None, kw_only=True, repr=False, compare=False, hash=False
    )


@dataclass(frozen=True)
class PropagationInput:
    """A chained invoke that is about to start."""

    execution_arn: str
    operation_id: str
    target_function_name: str
    parent_operation_id: str | None = None


@dataclass(frozen=True)
class PropagationMetadata:
    """Metadata sent with a chained invoke: the trace header, as opaque text."""

    x_amzn_trace_id: str | None = None


class DurableInstrumentationPlugin:
    """Base class of plugins, which override the hooks that they need. One serves one invocation.

    Every hook is a regular function, and its caller waits for it. With a synchronous handler, hooks
    of operations run on the thread that performs the operation: branches of a map or parallel call
    them concurrently. With an async handler all of them run on the loop that the handlers share, so
    they must not block. Context variables that a start hook sets are visible to the function that
    it announces, and to whatever that function starts.

    An exception of a hook is logged and ignored, and the execution continues as without the plugin.
    `KeyboardInterrupt`, `SystemExit` and `GeneratorExit` are raised where the hook was called, and
    end the invocation, which is retried. No hook is called before `on_invocation_start`, and none
    after `on_invocation_end`.
    """

    def provide_propagation_metadata(self, info: PropagationInput) -> PropagationMetadata | None:
        """Return the trace header of a chained invoke; called before the invoke is recorded.

        The first plugin that returns one that is not blank counts. At most 8,192 characters.
        """

    def on_invocation_start(self, info: InvocationStartInfo) -> None:
        """Called before the handler, on the thread of the handler."""

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Called when the invocation ends, after all other hooks, on the thread of the handler."""

    def on_operation_start(self, info: OperationStartInfo) -> None:
        """Called before the start of an operation is recorded, and for every start after a retry.

        For an operation that an earlier invocation started, and that has not ended, it is called
        again with `is_replayed`, once in each invocation; for one that has ended it is not.
        """

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Called when an operation has ended, before the handler receives its result.

        For an operation that ended while the execution was suspended (a wait, a callback, another
        execution), it is called when the handler reaches that operation, or else before
        `on_invocation_end`. It is called once for each operation, and not on replay. For a context
        that records no end of its own it is called whenever the body has run: for a virtual one,
        and with `is_replayed` for one whose result was too large to record.
        """

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        """Called when operations have changed, on a thread for this purpose (`plugin-change`).

        Changes during a call are reported together by the next one, with the latest state. All are
        reported before `on_invocation_end`.
        """

    def on_user_function_start(self, info: UserFunctionStartInfo) -> None:
        """Called before a step's function, a check, or the body of a context is called."""

    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        """Called when that function has ended, before its end is recorded."""


class DurableInstrumentationPluginFactory(Protocol):
    """Creates a plugin for each invocation, and holds what outlives invocations.

    Any object with this method is a factory; so is a class whose `create_plugin` is a class method
    or a static method. A plugin, a class of plugins and a bare function are not. When the class
    declares `__durable_registration_api__ = 1`, these attributes count:

    - `exclusive_group`: text; at most one factory of a function may have the same.
    - `on_registration_result(registered)`: called with True when the function has its plugins, with
      False when they were refused.
    """

    def create_plugin(self, info: InvocationStartInfo, /) -> DurableInstrumentationPlugin:
        """Return the plugin of an invocation. An exception is logged, and the plugin omitted."""
        ...


def _outcome(details: Details) -> tuple[str | None, ErrorObject | None]:
    match details:
        case StepDetails() | CallbackDetails() | ChainedInvokeDetails() | ContextDetails():
            return text_of(details.result), details.error
        case ExecutionDetails() | WaitDetails():
            return None, None
