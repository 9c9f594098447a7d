"""The stream of one worker: its calls and their replies, pipelined.

The reader takes messages off the stream and starts a task for each call; the writer sends whatever
is ready as one message of each kind, so that the checkpoints of one commit leave in one message.

Must stay true: unanswered calls and unsent messages are bounded (the reader stops reading), a call
that fails is answered and affects no other, and the stream is removed from the registry once.
Invocations that the worker does not take off the stream are bounded and count in the memory budget:
while they fill their bound, matching gets no more slots of this worker.

Messages are filled by CopyFrom, which copies memory; constructors and `append` serialize a message
and parse it again, which blocks the loop for long when it is large.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias, cast

import grpc.aio
from google.protobuf.message import Message

from perdure_core.refusals import Invalid
from perdure_gateway.admission.malformed import check_well_formed
from perdure_gateway.admission.memory_budget import Reservation
from perdure_gateway.errors import HeartbeatTimeout, NotServing
from perdure_gateway.status_codes import status_of
from perdure_gateway.workers.dispatcher import Dispatcher
from perdure_gateway.workers.registry import WorkerRegistry
from perdure_host.errors import HostError, is_outage
from perdure_host.telemetry import open_log
from perdure_proto.v1 import worker_pb2

UNANSWERED_MAX: Final = 20_000
# Far less than the limit of a message; one item more never exceeds that limit.
BATCH_BYTES_MAX: Final = 4 * 1_024 * 1_024
# Slots at matching at a time, and the size of unsent invocations from which on there are no more:
# each invocation of those slots may still add a page of state.
LENT_SLOTS_MAX: Final = 64
UNSENT_BYTES_MAX: Final = 16 * 1_024 * 1_024
# How long a worker may take to read a message.
WRITE_S_MAX: Final = 60.0

_Context: TypeAlias = "grpc.aio.ServicerContext[worker_pb2.WorkerMessage, worker_pb2.ServerMessage]"

_Handler: TypeAlias = "Callable[[Any, Reservation], Awaitable[Message]]"

_log = open_log("perdure.gateway")


class WorkerSession:
    """The connection of a worker that holds a stream."""

    def __init__(
        self, context: _Context, registry: WorkerRegistry, request: worker_pb2.RegisterRequest
    ) -> None:
        self.worker_id = request.worker_id
        self.slots = request.slots
        self.free = 0
        self._heard_ms = registry.attention.now_ms()
        self._is_listening = False
        self._request = request
        self._context = context
        self._registry = registry
        self._requests = registry.requests
        # By the field of the reply that holds the response.
        self._handlers: dict[str, _Handler] = {
            "checkpoint": registry.requests.checkpoint,
            "complete": registry.requests.complete,
            "state": registry.requests.state_page,
        }
        self.dispatcher = Dispatcher(
            self.worker_id,
            registry.invocations,
            registry.matching,
            registry.clock,
            on_invocation=self._on_invocation,
            on_unused_slot=self._on_unused_slot,
        )
        self._replies: deque[tuple[worker_pb2.Reply, Reservation]] = deque()
        self._invocations: deque[worker_pb2.Invocation] = deque()
        self._unsent = registry.budget.reservation()
        # Free slots at matching, and those that it gets once there is room.
        self._lent = self._withheld = 0
        self._notices: deque[worker_pb2.ServerMessage] = deque()
        self._ready = asyncio.Event()
        self._unanswered = 0
        self._progress = asyncio.Event()
        self._scope = asyncio.timeout(None)
        self._reason: HostError | None = None
        self._ended = False

    @property
    def seen_ms(self) -> int:
        """Return when the worker last sent something: now, while this process does not read."""
        return self._heard_ms if self._is_listening else self._registry.attention.now_ms()

    async def run(self) -> None:
        """Serve the stream until it ends; raise the reason when the server closes it."""
        try:
            async with self._scope:
                await self._serve()
        except TimeoutError:
            if self._reason is None:
                raise
        finally:
            self._ended = True
            for _, reservation in self._replies:
                reservation.release()
            self._unsent.release()
            self._progress.set()
            self.dispatcher.close()
            self._registry.disconnect(self)
        if self._reason is not None:
            raise self._reason

    def record_call(self) -> None:
        self._heard_ms = self._registry.attention.now_ms()

    def notify_lost(self, invocation_id: str) -> None:
        if not self._ended:
            lost = worker_pb2.HeartbeatResponse(lost_invocation_ids=[invocation_id])
            self._notify(worker_pb2.ServerMessage(heartbeat=lost))

    def close(self, reason: HostError) -> None:
        if self._reason is None and not self._ended:
            self._reason = reason
            self._scope.reschedule(asyncio.get_running_loop().time())

    def drain(self) -> None:
        self._notify(worker_pb2.ServerMessage(draining=worker_pb2.Draining()))
        self.dispatcher.start_task(self._close_answered())

    async def wait_closed(self) -> None:
        await self.dispatcher.wait_idle()
        unsent = [invocation.checkpoint_token for invocation in self._invocations]
        self._invocations.clear()
        await self.dispatcher.hand_back(unsent)

    async def _serve(self) -> None:
        registered = await self._registry.register(self._request, self)
        self._notify(worker_pb2.ServerMessage(registered=registered))
        writer = asyncio.get_running_loop().create_task(self._write())
        # A writer that fails must not leave a reader behind whose replies never leave.
        writer.add_done_callback(self._close_broken)
        try:
            await self._read()
            # The worker sends nothing more, and still receives the replies.
            await self.dispatcher.wait_idle()
            await self._wait_unanswered(0)
        finally:
            writer.cancel()

    # The reader.

    async def _read(self) -> None:
        attention = self._registry.attention
        self._is_listening = True
        # The types of read() do not show that it returns a marker at the end.
        read = cast("Callable[[], Awaitable[object]]", self._context.read)
        while isinstance(message := await read(), worker_pb2.WorkerMessage):
            self._heard_ms = attention.now_ms()
            self._handle(message)
            if self._unanswered > UNANSWERED_MAX:
                self._is_listening = False
                await self._wait_unanswered(UNANSWERED_MAX)
                self._heard_ms = attention.now_ms()
                self._is_listening = True
        check_well_formed(message)

    def _handle(self, message: worker_pb2.WorkerMessage) -> None:
        match message.WhichOneof("message"):
            case "checkpoints":
                for step in message.checkpoints.calls:
                    self._start_call(step.call_id, step.request, "checkpoint")
            case "completions":
                for end in message.completions.calls:
                    self._start_call(end.call_id, end.request, "complete")
            case "credit":
                self._add_credit(message.credit.slots)
            case "heartbeat":
                self._start(self._heartbeat(message.heartbeat))
            case "get_state":
                page = message.get_state
                self._start_call(page.call_id, page.request, "state")
            case "hand_back":
                self._start(self._hand_back(message.hand_back))
            case "register":
                raise Invalid("register must be only the first message of a session")
            case _:
                raise Invalid("a message of a session must be of a kind in the contract")

    def _add_credit(self, slots: int) -> None:
        if not 1 <= slots <= self.slots - self.free:
            raise Invalid(
                f"credit must be at least 1 and at most {self.slots - self.free:,} slots,"
                f" got {slots:,} ({self.free:,} of {self.slots:,} are free already)"
            )
        self.free += slots
        self._withheld += slots
        self._lend()

    def _lend(self) -> None:
        """Grant matching as many free slots as there is room for what they may bring."""
        slots = min(self._withheld, LENT_SLOTS_MAX - self._lent)
        if slots > 0 and self._unsent.size < UNSENT_BYTES_MAX:
            self._withheld -= slots
            self._lent += slots
            self._registry.credit(self, slots)

    # Calls. Each leads to one message, and counts as unanswered until that has been sent.

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._unanswered += 1
        self.dispatcher.start_task(work)

    def _start_call(self, call_id: int, request: Message, reply_field: str) -> None:
        self._start(self._answer(call_id, request, reply_field))

    async def _answer(self, call_id: int, request: Message, reply_field: str) -> None:
        reply = worker_pb2.Reply(call_id=call_id)
        reservation = self._registry.budget.reservation()
        try:
            response = await self._handlers[reply_field](request, reservation)
            getattr(reply, reply_field).CopyFrom(response)
        except asyncio.CancelledError:
            reservation.release()
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: a failed call is answered
            status = status_of(error)
            code: int = status.code.value[0]
            reply.error.CopyFrom(worker_pb2.CallError(code=code, message=status.message))
        if self._ended:
            reservation.release()
        self._replies.append((reply, reservation))
        self._ready.set()

    async def _heartbeat(self, request: worker_pb2.HeartbeatRequest) -> None:
        try:
            response = await self._requests.heartbeat(self.worker_id, request.invocation_ids)
        except Exception as error:  # noqa: BLE001 - then no invocation is known to be lost
            self._log_failure("heartbeat", error)
            response = worker_pb2.HeartbeatResponse()
        self._notices.append(worker_pb2.ServerMessage(heartbeat=response))
        self._ready.set()

    async def _hand_back(self, request: worker_pb2.HandBackRequest) -> None:
        try:
            await self._requests.hand_back(request)
        except Exception as error:  # noqa: BLE001 - the next heartbeat has the same effect
            self._log_failure("hand back", error)
        self._count_answered(1)

    # The dispatcher's callbacks.

    def _on_invocation(self, invocation: worker_pb2.Invocation) -> None:
        self.free -= 1
        self._lent -= 1
        self._unsent.hold(invocation.ByteSize())
        self._invocations.append(invocation)
        self._ready.set()
        self._lend()

    def _on_unused_slot(self) -> None:
        self._lent -= 1
        self._withheld += 1
        self._lend()

    # The writer.

    def _notify(self, message: worker_pb2.ServerMessage) -> None:
        self._unanswered += 1
        self._notices.append(message)
        self._ready.set()

    async def _write(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._notices:
                await self._send(self._notices.popleft())
                self._count_answered(1)
            while self._replies or self._invocations:
                await self._write_invocations()
                await self._write_replies()

    async def _write_invocations(self) -> None:
        message = worker_pb2.ServerMessage()
        size = 0
        while self._invocations and size < BATCH_BYTES_MAX:
            invocation = self._invocations.popleft()
            size += invocation.ByteSize()
            message.invocations.invocations.add().CopyFrom(invocation)
        if size:
            await self._send(message)
            self._unsent.hold(-size)
            self._lend()

    async def _write_replies(self) -> None:
        message = worker_pb2.ServerMessage()
        reservations: list[Reservation] = []
        size = 0
        while self._replies and size < BATCH_BYTES_MAX:
            reply, reservation = self._replies.popleft()
            size += reply.ByteSize()
            message.replies.replies.add().CopyFrom(reply)
            reservations.append(reservation)
        try:
            if reservations:
                await self._send(message)
                self._count_answered(len(reservations))
        finally:
            for reservation in reservations:
                reservation.release()

    async def _send(self, message: worker_pb2.ServerMessage) -> None:
        async with asyncio.timeout(WRITE_S_MAX):
            await self._context.write(message)

    def _count_answered(self, count: int) -> None:
        self._unanswered -= count
        self._progress.set()

    async def _wait_unanswered(self, most: int) -> None:
        while self._unanswered > most and not self._ended:
            self._progress.clear()
            await self._progress.wait()

    # The end.

    async def _close_answered(self) -> None:
        await self._wait_unanswered(0)
        self.close(NotServing("this node is stopping; connect again"))

    def _close_broken(self, writer: asyncio.Task[None]) -> None:
        if not writer.cancelled() and writer.exception() is not None:
            self.close(HeartbeatTimeout(f"the stream of worker {self.worker_id} broke"))

    def _log_failure(self, call: str, error: Exception) -> None:
        if is_outage(error):
            return
        reason = status_of(error).message
        _log.warning("a call failed", call=call, worker_id=self.worker_id, error=reason)
