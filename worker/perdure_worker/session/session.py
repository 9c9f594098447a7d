"""One stream to a server, from registering to its end.

Two tasks: one reads, one writes whatever is ready at the moment the stream is free. The reader
decides: a stream that is silent for the heartbeat timeout is as dead as one that broke. Time during
which this process itself was stopped is no silence of the server.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import grpc
import grpc.aio
import msgspec

from perdure_proto.v1 import worker_pb2, worker_pb2_grpc
from perdure_worker.invocations.running import RunningInvocations
from perdure_worker.session.call_status import CallStatus
from perdure_worker.session.replies import ReplyHandler

if TYPE_CHECKING:
    from perdure_proto.v1.worker_pb2_grpc import WorkerServiceAsyncStub

# How long the server may take to accept the registration.
REGISTER_S_MAX: Final = 10.0
# How long the server may take to end its side after we have ended ours.
FINISH_S_MAX: Final = 2.0
# A heartbeat that is due and comes later than this shows that this process did not run meanwhile.
LATE_S_MIN: Final = 1.0
# What it then gives itself to read what the server has sent meanwhile.
CATCH_UP_S: Final = 0.5
# Used when a server names no interval.
HEARTBEAT_MS_DEFAULT: Final = 5_000

SessionCall: TypeAlias = (
    "grpc.aio.StreamStreamCall[worker_pb2.WorkerMessage, worker_pb2.ServerMessage]"
)

_log = logging.getLogger("perdure.worker")


class SessionEnd(msgspec.Struct, frozen=True):
    """Why a session is over."""

    code: grpc.StatusCode
    details: str
    registered: bool


class Session:
    """One stream, and what it changes in the running invocations."""

    def __init__(
        self,
        running: RunningInvocations,
        replies: ReplyHandler,
        registration: worker_pb2.RegisterRequest,
        on_registered: Callable[[], None],
    ) -> None:
        self._running = running
        self._replies = replies
        self._registration = registration
        self._on_registered = on_registered
        self._loop = asyncio.get_running_loop()
        self._watchdog = asyncio.timeout(REGISTER_S_MAX)
        self._registered = asyncio.Event()
        self._finishing = False
        self._last_received_s = 0.0
        self.heartbeat_interval_s = 0.0
        self._silence_s_max = 0.0
        self._heartbeat: asyncio.TimerHandle | None = None
        self._heartbeat_due_s = 0.0

    @property
    def registered(self) -> bool:
        """Whether the server has accepted the registration."""
        return self._registered.is_set()

    async def run(self, channel: grpc.aio.Channel) -> SessionEnd:
        """Hold the stream until it ends, for whatever reason."""
        stub = cast("WorkerServiceAsyncStub", worker_pb2_grpc.WorkerServiceStub(channel))
        call = stub.Session()
        status = CallStatus(call)
        try:
            async with self._watchdog, asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(call))
                await self._read(call)
                end = self._end(*await status.received())
                writer.cancel()
            return end
        except TimeoutError:
            return self._end(
                grpc.StatusCode.UNAVAILABLE, "the server sent nothing within the heartbeat timeout"
            )
        finally:
            if self._heartbeat is not None:
                self._heartbeat.cancel()
            call.cancel()
            self._running.disconnected()

    def finish(self) -> None:
        """End the session: send what is left, then close this side."""
        self._finishing = True
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        if not self._watchdog.expired():
            self._watchdog.reschedule(self._loop.time() + FINISH_S_MAX)
        self._running.has_outgoing.set()

    async def _write(self, call: SessionCall) -> None:
        try:
            await call.write(worker_pb2.WorkerMessage(register=self._registration))
            await self._registered.wait()
            # An event that is set while messages are written calls for another round.
            while not self._finishing or self._running.has_outgoing.is_set():
                await self._running.has_outgoing.wait()
                self._running.has_outgoing.clear()
                for message in self._running.outgoing():
                    await call.write(message)
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream has ended; the reader receives the reason.
            return

    async def _read(self, call: SessionCall) -> None:
        try:
            while isinstance(message := await call.read(), worker_pb2.ServerMessage):
                self._last_received_s = self._loop.time()
                self._receive(message)
        except grpc.aio.AioRpcError:
            # The status of the call says why.
            return

    def _receive(self, message: worker_pb2.ServerMessage) -> None:
        match message.WhichOneof("message"):
            case "replies":
                self._replies.received(message.replies.replies)
            case "invocations":
                self._running.receive(message.invocations.invocations)
            case "heartbeat":
                self._running.lost(message.heartbeat.lost_invocation_ids)
            case "registered":
                self._begin(message.registered)
            case "draining":
                _log.info("the server is stopping; connecting again when it has")
            case None:
                # A message of a newer server, unknown to this worker.
                return

    def _begin(self, answer: worker_pb2.RegisterResponse) -> None:
        interval_ms = answer.heartbeat_interval_ms or HEARTBEAT_MS_DEFAULT
        self.heartbeat_interval_s = interval_ms / 1_000
        # Silence is judged at each heartbeat: the answer to the one before has to fit in.
        self._silence_s_max = max(answer.heartbeat_timeout_ms, 2 * interval_ms) / 1_000
        self._registered.set()
        self._running.connected(answer.refused_claims)
        self._heartbeat_due_s = self._loop.time()
        self._heartbeat_tick()
        self._on_registered()

    def _heartbeat_tick(self) -> None:
        """Send a heartbeat, and expect one from the server until the next."""
        if self._watchdog.expired():
            return
        late_s = self._loop.time() - self._heartbeat_due_s
        wait_s = self.heartbeat_interval_s
        if late_s >= LATE_S_MIN:
            # This process did not run. The server was not silent, and its invocations lie unread.
            self._last_received_s += late_s
            wait_s = min(wait_s, CATCH_UP_S)
        else:
            self._running.request_heartbeat()
        self._watchdog.reschedule(self._last_received_s + self._silence_s_max)
        self._heartbeat_due_s = self._loop.time() + wait_s
        self._heartbeat = self._loop.call_later(wait_s, self._heartbeat_tick)

    def _end(self, code: grpc.StatusCode, details: str) -> SessionEnd:
        closed = "the session was closed" if code is grpc.StatusCode.OK else code.name
        return SessionEnd(code, details or closed, self.registered)
