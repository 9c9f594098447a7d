"""A driver of executions to their ends, whatever happens to the node meanwhile."""

import contextlib
from collections.abc import Sequence

from perdure_core.refusals import Ended
from perdure_host.errors import HostError, StoreError
from perdure_host.services import StartRequest
from tests.history.scripted import Ledger, ScriptedWorker, complete_callback
from tests.history.simulation import HostGone, Simulation

ROUNDS_MAX = 600


class Driver:
    """Starts executions, completes their callbacks, pauses and resumes one, restarts nodes."""

    def __init__(
        self, simulation: Simulation, workers: Sequence[ScriptedWorker], ledger: Ledger
    ) -> None:
        self.simulation = simulation
        self.workers = workers
        self.ledger = ledger
        self.arns: dict[str, str | None] = {}
        self.restarts = 0
        self._completed: set[str] = set()

    async def start(self, name: str) -> None:
        """Start an execution; when there is no answer, it is started again in the next round."""
        self.arns.setdefault(name, None)
        host = self.simulation.host
        request = StartRequest(namespace="default", function="order", name=name)
        with contextlib.suppress(StoreError, HostGone):
            self.arns[name] = (await host.call(host.history.commands.start(request))).arn

    async def round(self, ms: int = 500) -> None:
        """Pass some time, and do what clients do meanwhile."""
        await self.simulation.pass_ms(ms)
        if self.simulation.host.link.is_cut:
            await self.restart()
        for name in [name for name, arn in self.arns.items() if arn is None]:
            await self.start(name)
        for callback_id in [*self.ledger.callbacks.values()]:
            if callback_id not in self._completed and await complete_callback(
                self.simulation, callback_id
            ):
                self._completed.add(callback_id)

    async def restart(self) -> None:
        """Start the node again, and let the workers that were there come back."""
        self.restarts += 1
        # A node that starts believes the wall clock.
        self.simulation.machine.set_wall_clock(0)
        back = [worker for worker in self.workers if worker.connected.is_set()]
        self.simulation.host.crash()
        for worker in back:
            worker.disconnect()
        await self.simulation.open()
        for worker in back:
            with contextlib.suppress(HostError):
                await worker.connect()

    async def pause_and_resume(self, name: str) -> None:
        """Pause an execution for a while."""
        for paused in (True, False):
            while not await self.control(name, paused=paused):
                await self.round()
            await self.round(3_000)

    async def finish(self) -> None:
        """Go on until everything that was started has ended."""
        for _ in range(ROUNDS_MAX):
            await self.round()
            if self._open() == []:
                return
        raise AssertionError(f"not ended: {self._open()}")

    def _open(self) -> list[object]:
        """Return what has not ended, or not even begun."""
        rows = self.simulation.rows()
        started = {row.name for row in rows}
        not_started: list[object] = [name for name in self.arns if name not in started]
        return [*not_started, *[row for row in rows if row.ended_ms is None]]

    async def control(self, name: str, *, paused: bool) -> bool:
        """Pause or resume; return whether that is known to be done."""
        host, arn = self.simulation.host, self.arns[name]
        if arn is None:
            return False
        history = host.history
        try:
            if paused:
                await host.call(history.commands.pause(arn, reason=None, timeout_paused=True))
            else:
                await host.call(history.commands.resume(arn, reason=None))
        except (StoreError, HostGone):
            return False
        except Ended:
            return True
        return True
