"""Messages and ports between a worker and the SDK: one invocation, and how it records progress.

The worker owns the wire, tokens and batching; the SDK owns what the handler's calls mean. Neither
depends on the inside of the other: they share these few types, and `perdure.functions.run`, which
runs the handler and returns its outcome.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol

import msgspec

from perdure.primitives.clock import system_now_ms
from perdure.primitives.user_code import ControlFlow
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.model import Operation, OperationUpdate


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """One invocation of an execution: all operations recorded so far, from all pages.

    The first operation is always EXECUTION; its `details.input` is the payload. `deadline_ms` is
    when the execution times out, `handed_out_ms` when the service handed the invocation out, both
    in milliseconds since 1970 by the service's clock. `tenant_id` is that of the invoke which
    started the execution, if it had one; `trace_header` comes from the client that started it, and
    so does `client_context`, as in Lambda's Invoke: JSON in base64.
    A context's or batch's result of more than `result_bytes_max` is not recorded, but rebuilt from
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
    """The answer to a checkpoint: the operations that changed since the previous answer.

    `revoked`: no further checkpoint is accepted (the execution is being paused); the invocation
    ends without a result. `lost`: not an answer, but the notice that the invocation is lost (the
    execution has ended, or runs elsewhere).
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

        `urgent`: the handler waits, so flush now. Otherwise the updates may wait up to 100 ms to
        share a call. An urgent call without updates is a refresh. The future always resolves; it
        raises `InvocationLost`, `CheckpointRefused` or `CheckpointUnavailable`.
        """
        ...


class InvocationObserver(Protocol):
    """Counts events for the worker. Called on the handler's thread; must not block or raise."""

    def operation_replayed(self) -> None:
        """Count a durable call that was answered from the record."""
        ...

    def step_finished(self, outcome: Literal["succeeded", "failed", "retried"]) -> None:
        """Count an attempt of a step that was recorded."""
        ...


class InvocationEnvironment(msgspec.Struct, frozen=True):
    """An invocation with all that its function uses of the worker.

    `now_ms` is the clock of the service's timers, in milliseconds since 1970: a branch that waits
    for time goes on in place when others keep the invocation going until then.
    """

    invocation: Invocation
    checkpoints: CheckpointWriter
    observer: InvocationObserver | None = None
    now_ms: Callable[[], int] = system_now_ms


class InvocationLost(ControlFlow):
    """The invocation was taken away, and its worker may record nothing more: stop, report nothing.

    The execution has ended, was stopped, or runs in another invocation.
    """

    __recorded_name__ = "perdure.delivery.TurnPassed"


class CheckpointRefused(Exception):
    """The service refused the updates as invalid; the execution fails with its message."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CheckpointUnavailable(Exception):
    """The updates could not be recorded; the invocation must be run again."""
