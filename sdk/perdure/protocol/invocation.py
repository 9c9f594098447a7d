"""What passes between a worker and the SDK: one delivery, and the way to record progress.

The worker owns the wire, tokens and batching; the SDK owns what the handler's calls mean. Neither
looks inside the other: they meet in these few types, and in `perdure.functions.run`, which adds the
outcome and runs the handler.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol

import msgspec

from perdure.primitives.clock import system_now_ms
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.model import Operation, OperationUpdate


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of an execution: everything recorded so far, all pages.

    The first operation is always EXECUTION; its `details.input` is the payload. `deadline_ms` is
    when the execution times out, `handed_out_ms` when the service handed the invocation out, both
    in milliseconds since 1970 by the service's clock. `tenant_id` is that of the invoke which
    started the execution, if it names one; `trace_header` comes from whoever started it, and so
    does `client_context`, as Lambda's Invoke takes it: JSON in base64.
    A context's or batch's result of more than `result_bytes_max` is not kept, but made again from
    its recorded children.
    """

    invocation_id: str
    execution_arn: str
    function_name: str
    operations: tuple[Operation, ...]
    updated_operation_ids: tuple[str, ...] = ()
    first: bool = False
    deadline_ms: int | None = None
    tenant_id: str | None = None
    handed_out_ms: int | None = None
    trace_header: str | None = None
    client_context: str | None = None
    result_bytes_max: int = PAYLOAD_BYTES_MAX


class CheckpointAnswer(msgspec.Struct, frozen=True):
    """What the service says after a checkpoint: the operations that changed since it last spoke.

    `revoked`: this was the last turn (the execution is being paused); the invocation ends without a
    result. `lost`: no answer, but the news that the turn has passed (the execution has ended, or
    runs elsewhere).
    """

    operations: tuple[Operation, ...]
    revoked: bool
    lost: bool = False


class CheckpointWriter(Protocol):
    """Records operation updates, in the order of the calls. The worker implements it."""

    def subscribe(self, listener: Callable[[CheckpointAnswer], None]) -> None:
        """Call `listener` for every answer, in order, before the futures of that call resolve.

        The listener runs on the worker's loop thread and must not block.
        """
        ...

    def submit(self, updates: Sequence[OperationUpdate], *, urgent: bool) -> Future[None]:
        """Record `updates` after everything submitted before; safe from any thread.

        `urgent` says that somebody waits: flush now. Otherwise the updates may wait up to 100 ms to
        share a call. No updates, urgently, is a refresh. The future raises `InvocationLost`,
        `CheckpointRefused` or `CheckpointUnavailable`, and always resolves.
        """
        ...


class InvocationObserver(Protocol):
    """Hears what the worker counts. Called on the handler's thread; must not block or raise."""

    def operation_replayed(self) -> None:
        """Note that a durable call was answered from the record."""
        ...

    def step_finished(self, outcome: Literal["succeeded", "failed", "retried"]) -> None:
        """Note that an attempt of a step was recorded."""
        ...


class InvocationEnvironment(msgspec.Struct, frozen=True):
    """An invocation as a function is given it, and all that it may use of the worker meanwhile.

    `now_ms` is the clock of the service's timers, in milliseconds since 1970.
    """

    invocation: Invocation
    checkpoints: CheckpointWriter
    observer: InvocationObserver | None = None
    now_ms: Callable[[], int] = system_now_ms


class InvocationLost(BaseException):
    """The invocation was taken away, and its worker may record nothing more: stop, report nothing.

    The execution has ended, was stopped, or runs in another invocation.
    """

    __recorded_name__ = "perdure.delivery.TurnPassed"


class CheckpointRefused(Exception):
    """The service says that the updates are invalid; the execution fails with its message."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CheckpointUnavailable(Exception):
    """The updates could not be recorded for now; the invocation must be run again."""
