"""One invocation in this worker: its message, its handler, its checkpoints.

This is where the SDK meets the worker. `run`, `subscribe` and `submit` are called on the handler's
threads and only put into the inbox; everything else belongs to the loop.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

import msgspec

from perdure.worker_api import (
    CheckpointAnswer,
    CheckpointRefused,
    Errored,
    Invocation,
    InvocationEnvironment,
    InvocationLost,
    Lost,
    Outcome,
    RegisteredFunction,
    error_record,
    run_invocation,
    run_invocation_async,
)
from perdure_core.model import OperationUpdate
from perdure_host.codec import (
    MalformedMessage,
    ms_from_timestamp,
    operations_from_messages,
    update_to_message,
)
from perdure_proto.v1 import model_pb2, worker_pb2
from perdure_worker.invocations.inbox import Inbox
from perdure_worker.invocations.protocol import Call, InvocationProtocol
from perdure_worker.metrics.metrics import InvocationCounters
from perdure_worker.threads.handler_loop_thread import AsyncHandlerTask


class UpdatesSubmitted(msgspec.Struct, frozen=True):
    """Updates that a handler submits."""

    active: "ActiveInvocation"
    updates: list[worker_pb2.OperationUpdate]
    future: "Future[None]"
    urgent: bool


class HandlerEnded(msgspec.Struct, frozen=True):
    """The end of a handler."""

    active: "ActiveInvocation"
    outcome: Outcome


InboxMessage = UpdatesSubmitted | HandlerEnded

_LOST: Final = CheckpointAnswer((), revoked=False, lost=True)


class ActiveInvocation:
    """An invocation that is running."""

    def __init__(
        self,
        message: worker_pb2.Invocation,
        function: RegisteredFunction | None,
        inbox: Inbox[InboxMessage],
    ) -> None:
        self.invocation_id = message.invocation_id
        self.execution_arn = message.execution_arn
        self.function_name = message.function_name
        self.function = function
        self.protocol: InvocationProtocol[Future[None]] = InvocationProtocol(
            message.checkpoint_token, message.next_marker
        )
        self.counters = InvocationCounters()
        self.listeners: list[Callable[[CheckpointAnswer], None]] = []
        # When the execution times out, by this process's monotonic clock: what the wall clocks of
        # the two machines say of each other does not matter.
        self.expires_s = _expires_s(message)
        self._message = message
        self._pages: list[model_pb2.Operation] = []
        self._inbox = inbox
        self._async_outcome: Outcome = Lost()
        self._lost = False

        # Kept here by `RunningInvocations`.
        self.handler_task: AsyncHandlerTask | None = None
        self.thread_started = False
        self.thread_ended = False
        self.queued = False
        self.lingering = False
        self.backing_off = False
        self.failures = 0
        self.reporting = False
        self.finished_instead = False
        self.sent: Call | None = None
        self.sent_s = 0.0

    @property
    def deadline_ms(self) -> int | None:
        """When the execution times out."""
        if not self._message.HasField("execution_deadline_timestamp"):
            return None
        return ms_from_timestamp(self._message.execution_deadline_timestamp)

    @property
    def handed_out_ms(self) -> int | None:
        """When the server handed the invocation out; None from a server that does not report it."""
        if not self._message.HasField("handed_out_timestamp"):
            return None
        return ms_from_timestamp(self._message.handed_out_timestamp)

    def add_page(self, operations: Sequence[model_pb2.Operation]) -> None:
        """Add the operations of a further page of the state."""
        self._pages.extend(operations)

    def run(self) -> None:
        """Run the handler on this thread, and report how it ended."""
        self._inbox.put(HandlerEnded(self, self._outcome()))

    async def run_async(self) -> None:
        """Run the async handler on this loop; `report_end` reports how it ended."""
        assert self.function is not None
        try:
            self._async_outcome = await run_invocation_async(self.function, self._environment())
        except InvocationLost:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the slot must come back
            self._async_outcome = Errored(error_record(error))

    def report_end(self) -> None:
        """Report how `run_async` ended, also when it was cancelled before it began."""
        self._inbox.put(HandlerEnded(self, self._async_outcome))

    def subscribe(self, listener: Callable[[CheckpointAnswer], None]) -> None:
        """Call `listener` for every answer; see `CheckpointWriter`."""
        self.listeners.append(listener)
        if self._lost:  # after it arrived, before its handler began
            listener(_LOST)

    def notify_lost(self) -> None:
        """Notify the handler that nothing more of it will be recorded."""
        self._lost = True
        for listener in self.listeners:
            listener(_LOST)

    def submit(self, updates: Sequence[OperationUpdate], *, urgent: bool) -> "Future[None]":
        """Record `updates`; see `CheckpointWriter`."""
        future: Future[None] = Future()
        try:
            messages = [update_to_message(update) for update in updates]
        except ValueError as error:
            # Text that no message can hold, such as half of a surrogate pair.
            future.set_exception(CheckpointRefused(f"an update cannot be sent: {error}"))
            return future
        if (
            not self._inbox.put(UpdatesSubmitted(self, messages, future, urgent))
            and not future.done()
        ):
            future.set_exception(InvocationLost())
        return future

    def _outcome(self) -> Outcome:
        assert self.function is not None
        try:
            return run_invocation(self.function, self._environment())
        except InvocationLost:
            return Lost()
        except BaseException as error:  # noqa: BLE001 - a silent thread would keep its slot
            return Errored(error_record(error))

    def _environment(self) -> InvocationEnvironment:
        return InvocationEnvironment(self._invocation(), self, self.counters)

    def _invocation(self) -> Invocation:
        message = self._message
        try:
            operations = operations_from_messages([*message.operations, *self._pages])
        except MalformedMessage as error:
            raise MalformedMessage(
                f"the server sent a state that cannot be decoded: {error}"
            ) from error
        # The structs take their place; a handler may run for hours.
        message.ClearField("operations")
        self._pages.clear()
        return Invocation(
            invocation_id=message.invocation_id,
            execution_arn=message.execution_arn,
            function_name=message.function_name,
            operations=operations,
            updated_operation_ids=tuple(message.updated_operation_ids),
            first=message.first,
            deadline_ms=self.deadline_ms,
            tenant_id=message.tenant_id if message.HasField("tenant_id") else None,
            handed_out_ms=self.handed_out_ms,
            trace_header=message.trace_header if message.HasField("trace_header") else None,
            client_context=message.client_context if message.HasField("client_context") else None,
        )


def _expires_s(message: worker_pb2.Invocation) -> float | None:
    """Return when the time of the execution is over, by the monotonic clock, as far as is known."""
    for field in ("execution_deadline_timestamp", "handed_out_timestamp"):
        if not message.HasField(field):
            return None
    left_ms = ms_from_timestamp(message.execution_deadline_timestamp) - ms_from_timestamp(
        message.handed_out_timestamp
    )
    return time.monotonic() + left_ms / 1_000
