"""Turns the tasks that matching hands to one worker into invocations, and loses none of them.

    task ──history.begin──▶ invocation      handed to the worker
                       ├──▶ nothing wanted  the slot is free again
                       └──▶ failed          the slot is held for a while, then both are given back

Must stay true: a slot that matching has filled ends in exactly one of these, and an invocation that
could not be handed to the worker is given back, for nobody would run it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from perdure_gateway.status_codes import status_of
from perdure_gateway.workers.requests import invocation_to_message
from perdure_host.errors import StoreError
from perdure_host.ports import Clock
from perdure_host.services import InvocationCommands, Matching, Task
from perdure_host.telemetry import open_log
from perdure_proto.v1 import worker_pb2

# Long enough not to hammer a database that is down, short enough to go unnoticed once it is back.
OFFER_AGAIN_MS: Final = 1_000

_log = open_log("perdure.gateway")


class Dispatcher:
    """The dispatcher of one worker.

    `on_invocation` receives each invocation; `on_unused_slot` is called when a slot stays unused.
    """

    def __init__(
        self,
        worker_id: str,
        invocations: InvocationCommands,
        matching: Matching,
        clock: Clock,
        *,
        on_invocation: Callable[[worker_pb2.Invocation], None],
        on_unused_slot: Callable[[], None],
    ) -> None:
        self._worker_id = worker_id
        self._invocations = invocations
        self._matching = matching
        self._clock = clock
        self._on_invocation = on_invocation
        self._on_unused_slot = on_unused_slot
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def deliver(self, task: Task) -> None:
        """Begin the invocation of a task; matching calls this."""
        self.start_task(self._begin(task))

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that the worker asked for; `wait_idle` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Receive nothing more; what still begins is given back."""
        self._closed = True

    async def wait_idle(self) -> None:
        """Return when nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _begin(self, task: Task) -> None:
        try:
            offer = await self._invocations.begin(task.key, self._worker_id)
        except Exception as error:  # noqa: BLE001 - whatever it was, the task must not be lost
            await self._offer_again(task, error)
            return
        if offer is None:
            self._release_slot()
        elif self._closed:
            await self.hand_back([offer.token])
        else:
            # At once: the operations of the offer are history's own, and change after an await.
            self._on_invocation(invocation_to_message(offer))

    async def hand_back(self, tokens: list[str]) -> None:
        """Return invocations that never reached the worker."""
        if not tokens:
            return
        try:
            await self._invocations.hand_back(tokens)
        except StoreError as error:
            # They are missing from the next heartbeat, and history offers them again.
            _log.warning("invocations could not be given back", count=len(tokens), error=str(error))

    async def _offer_again(self, task: Task, error: Exception) -> None:
        reason = status_of(error).message
        _log.warning("an invocation could not begin", function=task.function, error=reason)
        if not self._closed:
            await self._clock.wait_until(self._clock.now_ms() + OFFER_AGAIN_MS)
        self._matching.offer(task)
        self._release_slot()

    def _release_slot(self) -> None:
        if not self._closed:
            self._on_unused_slot()
