"""The workers that are here: by session or by unary calls, one attachment for each worker id.

Must stay true: the newest attachment of a worker id replaces the one before it at once, before
anything is claimed through it; and history hears that a worker is lost when its last attachment has
gone, unless the node itself is stopping: then workers go on, and claim what they run elsewhere.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from perdure_core.refusals import Invalid
from perdure_gateway.admission.memory_budget import Room
from perdure_gateway.admission.readiness import Gate, Standing
from perdure_gateway.errors import Crowded, SessionReplaced, WorkerSilent
from perdure_gateway.status_codes import status_of
from perdure_gateway.workers.requests import announced
from perdure_host.errors import HostError
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Clock
from perdure_host.services import History, Matching, Task
from perdure_host.telemetry import open_log
from perdure_proto.v1 import worker_pb2

WORKERS_MAX: Final = 10_000
# How long history is left alone after it could not be told that a worker is lost.
TELL_AGAIN_MS: Final = 1_000

_log = open_log("perdure.gateway")


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What workers are told at registration. Shorter: losses are noticed sooner, more messages."""

    heartbeat_interval_ms: int = 5_000
    heartbeat_timeout_ms: int = 15_000


class Attachment(Protocol):
    """One way in which a worker is here."""

    worker_id: str
    slots: int
    # Free slots that were promised to us and are not filled.
    free: int

    @property
    def seen_ms(self) -> int:
        """Return when it last showed a sign of life."""
        ...

    def deliver(self, task: Task) -> None:
        """Take a task; matching calls this."""
        ...

    def lose(self, invocation_id: str) -> None:
        """Tell the worker that the turn of an invocation has passed, if it can be told at once."""
        ...

    def close(self, reason: HostError) -> None:
        """End the attachment, and tell the worker why."""
        ...

    def drain(self) -> None:
        """Tell the worker that the node stops, and end once its calls are answered."""
        ...

    async def wait_closed(self) -> None:
        """Return when nothing is under way any more, and nothing undelivered is left."""
        ...


class Attendance:
    """Everything that is known of workers, but for the queues."""

    def __init__(
        self,
        history: History,
        matching: Matching,
        clock: Clock,
        gate: Gate,
        *,
        metrics: ServerMetrics,
        settings: WorkerSettings,
        room: Room | None = None,
    ) -> None:
        self.room = room or Room()
        self.history = history
        self.matching = matching
        self.clock = clock
        self.gate = gate
        self.settings = settings
        self._attached: dict[str, Attachment] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        history.watch_lost(self._lose)
        metrics.workers_connected.set_function(lambda: len(self._attached))
        metrics.slots.set_function(self._slots)
        metrics.slots_in_use.set_function(self._slots_in_use)

    def find(self, worker_id: str) -> Attachment | None:
        """Return the worker's attachment."""
        return self._attached.get(worker_id)

    async def register(
        self, request: worker_pb2.RegisterRequest, attachment: Attachment
    ) -> worker_pb2.RegisterResponse:
        """Let a worker in: announce what it serves, claim what it runs, tell matching."""
        self._enter(attachment)
        rows = announced(request)
        if rows:
            await self.history.announce(rows)
        refused = await self._claim(request.worker_id, request.claims)
        if self._attached.get(attachment.worker_id) is attachment:
            functions = [(row.namespace, row.name) for row in rows]
            self.matching.attach(attachment.worker_id, functions, attachment.deliver)
        _log.info(
            "worker registered",
            worker_id=request.worker_id,
            functions=len(rows),
            slots=request.slots,
            claims=len(request.claims),
            sdk=request.sdk[:100],
        )
        return worker_pb2.RegisterResponse(
            heartbeat_interval_ms=self.settings.heartbeat_interval_ms,
            heartbeat_timeout_ms=self.settings.heartbeat_timeout_ms,
            refused_claims=refused,
        )

    def dismiss(self, attachment: Attachment) -> None:
        """Take leave of an attachment that has ended, whatever the reason."""
        worker_left = self._attached.get(attachment.worker_id) is attachment
        if worker_left:
            del self._attached[attachment.worker_id]
            self.matching.detach(attachment.worker_id)
        farewell = asyncio.get_running_loop().create_task(
            self._say_farewell(attachment, worker_left=worker_left)
        )
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    def credit(self, attachment: Attachment, slots: int) -> None:
        """Promise free slots to matching, unless another attachment speaks for the worker now."""
        if self._attached.get(attachment.worker_id) is attachment:
            self.matching.credit(attachment.worker_id, slots)

    def withdraw(self, attachment: Attachment) -> None:
        """Take back the free slots that were promised to matching."""
        if self._attached.get(attachment.worker_id) is attachment:
            self.matching.withdraw(attachment.worker_id)

    async def close_silent(self) -> None:
        """Close the attachments of workers that showed no sign of life in time."""
        silent_ms = self.settings.heartbeat_timeout_ms
        since_ms = self.clock.now_ms() - silent_ms
        for attachment in [*self._attached.values()]:
            if attachment.seen_ms < since_ms:
                worker_id = attachment.worker_id
                _log.warning("worker silent", worker_id=worker_id, silent_ms=silent_ms)
                attachment.close(
                    WorkerSilent(f"worker {worker_id} showed no sign of life for {silent_ms:,} ms")
                )

    async def drain(self) -> None:
        """Let every worker know that the node stops; return when the last of them has gone."""
        attachments = [*self._attached.values()]
        for attachment in attachments:
            self.matching.detach(attachment.worker_id)
            attachment.drain()
        for attachment in attachments:
            await attachment.wait_closed()
        # Nobody is lost any more: workers go on, and claim what they run at the next node.
        for farewell in self._farewells:
            farewell.cancel()
        await asyncio.gather(*self._farewells, return_exceptions=True)

    def _lose(self, worker_id: str, invocation_id: str) -> None:
        attachment = self._attached.get(worker_id)
        if attachment is not None:
            attachment.lose(invocation_id)

    def _enter(self, attachment: Attachment) -> None:
        former = self._attached.get(attachment.worker_id)
        if former is None and len(self._attached) >= WORKERS_MAX:
            raise Crowded(f"{WORKERS_MAX:,} workers are connected; no more are allowed")
        self._attached[attachment.worker_id] = attachment
        if former is not None:
            self.matching.detach(attachment.worker_id)
            former.close(
                SessionReplaced(f"a newer session of worker {attachment.worker_id} took its place")
            )

    async def _claim(self, worker_id: str, claims: Sequence[str]) -> list[str]:
        return [token for token in claims if not await self._is_claimed(worker_id, token)]

    async def _is_claimed(self, worker_id: str, token: str) -> bool:
        try:
            return await self.history.claim(token, worker_id) is not None
        except Invalid:
            # Of another database, say. The worker has to drop it, like one whose turn has passed.
            return False

    async def _say_farewell(self, attachment: Attachment, *, worker_left: bool) -> None:
        await attachment.wait_closed()
        # Endless only while the database is down, and not past the end of the node.
        while worker_left and attachment.worker_id not in self._attached and self._serving():
            try:
                await self.history.worker_lost(attachment.worker_id)
            except Exception as error:  # noqa: BLE001 - whatever it was, the work must not be lost
                reason = status_of(error).message
                worker_id = attachment.worker_id
                _log.warning("a lost worker is not recorded yet", worker_id=worker_id, error=reason)
                await self.clock.wait_until(self.clock.now_ms() + TELL_AGAIN_MS)
            else:
                return

    def _serving(self) -> bool:
        return self.gate.standing is Standing.SERVING

    def _slots(self) -> float:
        return sum(attachment.slots for attachment in self._attached.values())

    def _slots_in_use(self) -> float:
        return sum(attachment.slots - attachment.free for attachment in self._attached.values())
