"""The processes of all hosted functions: warm ones are used again, cold ones are started.

Must stay true: a process runs one invocation at a time, and those of one tenant only where the
function keeps tenants apart; there are never more processes than slots;
an event goes to another process only if the one before ended without taking it; and
nothing outlives `close`.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.processes.frames import InitFailed, Invoke, Raised, Ready, Returned
from perdure_worker.hosting.processes.process import (
    End,
    Exited,
    HandlerProcess,
    InitTimedOut,
    NotStarted,
    TimedOut,
)

# A process that has been idle for so long ends.
IDLE_S_MAX: Final = 300.0
# Imports of many at once would only wait for each other.
STARTS_MAX: Final = 4
# Processes that end while they are idle are found out one by one.
TRIES_MAX: Final = 5

RunResult = Returned | Raised | Exited | TimedOut | InitFailed | InitTimedOut
NewProcess = Callable[[HostedDefinition], HandlerProcess]


class Pool:
    """Runs events in processes. Belongs to a loop."""

    def __init__(
        self, new_process: NewProcess, *, processes_max: int, idle_s: float = IDLE_S_MAX
    ) -> None:
        self._new_process = new_process
        self._processes_max = processes_max
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._starts = asyncio.Semaphore(STARTS_MAX)
        self._busy: set[HandlerProcess] = set()
        # In the order in which they became idle, with what will end them.
        self._idle: dict[HandlerProcess, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> int:
        """How many processes wait for an event."""
        return len(self._idle)

    @property
    def count(self) -> int:
        """How many processes there are."""
        return len(self._idle) + len(self._busy) + len(self._ending)

    async def run(self, definition: HostedDefinition, event: Invoke) -> RunResult:
        """Run the handler once, in a process of its own. Raises OSError when none can start."""
        for _ in range(TRIES_MAX - 1):
            process = self._warm(definition, event)
            if process is None:
                break
            end = await self._run_in(process, event)
            if not isinstance(end, NotStarted):
                return end
        return await self._run_cold(definition, event)

    async def close(self) -> None:
        """End all processes."""
        for process in list(self._idle):
            self._end(process)
        for process in list(self._busy):
            self._give_up(process)
        await asyncio.gather(*self._ending)

    async def _run_cold(self, definition: HostedDefinition, event: Invoke) -> RunResult:
        await self._make_room()
        process = self._new_process(definition)
        process.tenant_id = _tenant(definition, event)
        self._busy.add(process)
        try:
            async with self._starts:
                start = await process.start()
        except BaseException:
            self._give_up(process)
            raise
        if not isinstance(start, Ready):
            self._give_up(process)
            return start
        end = await self._run_in(process, event)
        return Exited(0) if isinstance(end, NotStarted) else end

    async def _run_in(self, process: HandlerProcess, event: Invoke) -> End:
        self._busy.add(process)
        try:
            end = await process.invoke(event)
        except BaseException:
            self._give_up(process)
            raise
        if isinstance(end, Returned | Raised) and not process.ended:
            self._busy.discard(process)
            self._idle[process] = self._loop.call_later(self._idle_s, self._end, process)
        else:
            self._give_up(process)
        return end

    def _warm(self, definition: HostedDefinition, event: Invoke) -> HandlerProcess | None:
        """Return the process of function and tenant that was used last, if one is idle."""
        tenant_id = _tenant(definition, event)
        for process in reversed(self._idle):
            if process.definition is definition and process.tenant_id == tenant_id:
                self._idle.pop(process).cancel()
                return process
        return None

    async def _make_room(self) -> None:
        """End the process that has been idle longest when the pool is full."""
        while self.count >= self._processes_max and (self._idle or self._ending):
            if self._idle:
                self._end(next(iter(self._idle)))
            await asyncio.wait(self._ending, return_when=asyncio.FIRST_COMPLETED)

    def _end(self, process: HandlerProcess) -> None:
        self._idle.pop(process).cancel()
        self._give_up(process)

    def _give_up(self, process: HandlerProcess) -> None:
        """See that the process ends, if it has not."""
        self._busy.discard(process)
        if process.ended:
            return
        ending = self._loop.create_task(process.kill())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


def _tenant(definition: HostedDefinition, event: Invoke) -> str | None:
    """Return whose process it has to be; None where tenants share them."""
    return event.tenant_id if definition.settings.tenant_isolation else None
