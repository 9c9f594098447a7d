"""What plugins are: code that watches executions, and changes nothing about them.

A worker gives each invocation plugins of its own, made by the factories of its function:

    @durable_execution(plugins=[TimingFactory()])

Which hook is called where and when is told at `DurableInstrumentationPlugin`. Names, fields,
defaults and rules are those of the AWS Lambda durable execution SDK for Python 3.0 (plugin);
`docs/plugins.md` says where we differ.
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
    """How an invocation ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PENDING = "PENDING"
    RETRY = "RETRY"


class UserFunctionOutcome(Enum):
    """How a function of the user ended. INCOMPLETE: it suspended, or had to stop."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    INCOMPLETE = "INCOMPLETE"

    @classmethod
    def from_error(cls, error: ErrorObject | None) -> "UserFunctionOutcome":
        """Return FAILED if there is an error, SUCCEEDED if there is none."""
        return cls.SUCCEEDED if error is None else cls.FAILED


@dataclass(frozen=True)
class OperationInfo:
    """One operation as it stood at some moment.

    `result` is text, as it is recorded. `attempt` counts: the attempts of a step that have ended,
    and in what is told about its function the one that runs, from 1.
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
        """Return what is told of a recorded operation."""
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
    """An operation that starts, or is met again before it has ended: then `is_replayed`."""


@dataclass(frozen=True)
class OperationEndInfo(OperationInfo):
    """An operation that has ended."""


@dataclass(frozen=True)
class OperationChangeInfo:
    """Operations whose status is another one than before, and all as they stand then, by id."""

    execution_arn: str | None
    updated_operations: dict[str, OperationInfo]
    operations: dict[str, OperationInfo]


@dataclass(frozen=True)
class UserFunctionStartInfo(OperationInfo):
    """A function of the user that is about to be called.

    `is_replay_children`: its result is known, and too large to have been kept; it runs again over
    what its children recorded.
    """

    is_replay_children: bool = False


@dataclass(frozen=True)
class UserFunctionEndInfo(OperationInfo):
    """A function of the user that has returned, raised, or been stopped."""

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
        """Return the end of what `start_info` tells the start of, now."""
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
    started, as in X-Amzn-Trace-Id. Payloads are neither compared nor shown by `repr`: who logs
    an info does not log secrets.
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

    PENDING: the execution waits for something. RETRY: the invocation went wrong, was lost to
    somebody else, or asked for other operations than are recorded; the handler runs again.
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
    """What travels with a chained invoke: the trace header, as text that nobody interprets."""

    x_amzn_trace_id: str | None = None


class DurableInstrumentationPlugin:
    """What a plugin derives from, overriding the hooks that it needs. One serves one invocation.

    Every hook is an ordinary function, and whoever calls it waits for it. In a handler that is an
    ordinary function, hooks of operations run on the thread that performs the operation: branches
    of a map or parallel call them side by side. In an async handler all of them run on the loop
    that the handlers share, so they must not block. Context variables that a hook sets are seen by
    the function whose start it was told, and by what that one starts.

    Whatever a hook raises is logged and ignored, and the execution goes on as without the plugin.
    `KeyboardInterrupt`, `SystemExit` and `GeneratorExit` are raised where the hook was called, and
    end the invocation, which is run again. No hook is called before `on_invocation_start`, and none
    after `on_invocation_end`.
    """

    def provide_propagation_metadata(self, info: PropagationInput) -> PropagationMetadata | None:
        """Say which trace header a chained invoke takes along; called before it is recorded.

        The first plugin that has one, blank ones aside, is heard. At most 8,192 characters.
        """

    def on_invocation_start(self, info: InvocationStartInfo) -> None:
        """Hear of the invocation before the handler is called, on the thread of the handler."""

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Hear how the invocation ended, after every other hook, on the thread of the handler."""

    def on_operation_start(self, info: OperationStartInfo) -> None:
        """Hear of an operation before its start is recorded, and of every start after a retry.

        An operation that an earlier invocation has started, and that has not ended, is told again
        with `is_replayed`, once in each invocation. One that has ended is not.
        """

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Hear how an operation ended, before the handler does.

        What ended while nobody looked (a wait, a callback, another execution) is told when the
        handler comes to it; what it never comes to, before `on_invocation_end`. An operation is
        told once, and not on replay. A context that records no end of its own is told whenever its
        body has run: a virtual one, and with `is_replayed` one whose result was too large to keep.
        """

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        """Hear which operations changed, on a thread that does nothing else (`plugin-change`).

        Changes that come while the plugins are still being told are told together, as they stand
        then. All have been told before `on_invocation_end`.
        """

    def on_user_function_start(self, info: UserFunctionStartInfo) -> None:
        """Hear that a step's function, a check, or the body of a context is about to be called."""

    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        """Hear how it ended, before its end is recorded."""


class DurableInstrumentationPluginFactory(Protocol):
    """Makes a plugin for each invocation, and holds what outlives invocations.

    An object with this method serves; so does a class whose `create_plugin` is a class method or a
    static one. A plugin, a class of plugins and a bare function do not. The class may declare
    `__durable_registration_api__ = 1`; then these attributes count:

    - `exclusive_group`: text; of all factories of a function at most one may have it.
    - `on_registration_result(registered)`: told True when the function has its plugins, False when
      they were refused.
    """

    def create_plugin(self, info: InvocationStartInfo, /) -> DurableInstrumentationPlugin:
        """Return the plugin that serves the invocation. One that raises is logged and left out."""
        ...


def _outcome(details: Details) -> tuple[str | None, ErrorObject | None]:
    match details:
        case StepDetails() | CallbackDetails() | ChainedInvokeDetails() | ContextDetails():
            return text_of(details.result), details.error
        case ExecutionDetails() | WaitDetails():
            return None, None
