"""The dispatcher of one worker: it turns tasks from matching into invocations, and loses none.

    task ──history.begin──▶ invocation       sent to the worker
                       ├──▶ nothing to run   the slot is free again
                       └──▶ failed           after a delay the task is offered again, the slot freed

Must stay true: a slot that matching has filled ends in exactly one of these ways, and an invocation
that could not be sent to the worker is handed back, since no worker would run it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from perdure_gateway.status_codes import status_of
from perdure_gateway.workers.requests import invocation_to_message
from perdure_host.errors import StoreError, is_outage
from perdure_host.ports import Clock
from perdure_host.services import InvocationCommands, Matching, Task
from perdure_host.telemetry import open_log
from perdure_proto.v1 import worker_pb2

# Long enough to spare a database that is down, short enough not to be noticed once it is up again.
OFFER_AGAIN_MS: Final = 1_000

_log = open_log("perdure.gateway")


class Dispatcher:
    """Starts the invocations of one worker, and the other tasks of its connection.

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
        """Start the invocation of a task; matching calls this."""
        self.start_task(self._begin(task))

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work for the worker; `wait_idle` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop passing on invocations; those that are starting are handed back."""
        self._closed = True

    async def wait_idle(self) -> None:
        """Wait until no task is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _begin(self, task: Task) -> None:
        try:
            offer = await self._invocations.begin(task.key, self._worker_id)
        except Exception as error:  # noqa: BLE001 - no error may lose the task
            await self._offer_again(task, error)
            return
        if offer is None:
            self._release_slot()
        elif self._closed:
            await self.hand_back([offer.token])
        else:
            # Without an await before: the operations of the offer belong to history and may change.
            self._on_invocation(invocation_to_message(offer))

    async def hand_back(self, tokens: list[str]) -> None:
        """Return invocations that never reached the worker to their queues."""
        if not tokens:
            return
        try:
            await self._invocations.hand_back(tokens)
        except StoreError as error:
            # They are missing from the next heartbeat, and history offers them again.
            if not is_outage(error):
                _log.warning(
                    "invocations could not be handed back", count=len(tokens), error=str(error)
                )

    async def _offer_again(self, task: Task, error: Exception) -> None:
        if not is_outage(error):
            reason = status_of(error).message
            _log.warning("an invocation could not start", function=task.function, error=reason)
        if not self._closed:
            await self._clock.wait_until(self._clock.now_ms() + OFFER_AGAIN_MS)
        self._matching.offer(task)
        self._release_slot()

    def _release_slot(self) -> None:
        if not self._closed:
            self._on_unused_slot()
