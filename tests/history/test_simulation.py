"""Simulation: many executions, random faults, one set of checks. A seed repeats a run.

PERDURE_SIMULATIONS sets how many seeds are played, PERDURE_SIMULATION_SEED the first of them.
"""

import contextlib
import os
import random
from collections.abc import Iterator

import pytest

from perdure_core.events import InvocationCompleted
from perdure_core.refusals import Refused
from perdure_history import ids
from perdure_history.settings import HistorySettings
from perdure_host.errors import HostError
from tests.history.checks import check_outcomes
from tests.history.driver import Driver
from tests.history.recording_sink import RecordingSink, check_status_events
from tests.history.scripted import Callback, Invoke, Ledger, Script, ScriptedWorker, Step, Wait
from tests.history.simulation import Simulation

SEEDS = int(os.environ.get("PERDURE_SIMULATIONS", "50"))
FIRST_SEED = int(os.environ.get("PERDURE_SIMULATION_SEED", "1"))
ROUNDS_OF_TROUBLE = 24
PAUSES = 10
DAY_MS = 86_400_000


@pytest.mark.parametrize("seed", list(range(FIRST_SEED, FIRST_SEED + SEEDS)))
async def test_every_execution_ends_as_its_recorded_steps_say(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    id_source = random.Random(seed + 1)

    def seeded_hex(size: int) -> str:
        return id_source.randbytes(size).hex()

    monkeypatch.setattr(ids, "token_hex", seeded_hex)
    settings = HistorySettings(cache_executions_max=dice.choice([3, 20, 1_000]))
    scripts = {"order": tuple(_script(dice)), "child": (Step("pack"), Wait("rest", ms=700))}
    sink = RecordingSink(random.Random(seed + 2))
    async with Simulation(settings, sink=sink) as simulation:
        ledger = Ledger()
        workers = [
            _worker(simulation, scripts, f"worker-{number}", ledger, dice) for number in range(3)
        ]
        driver = Driver(simulation, workers, ledger)
        trouble = _Trouble(simulation, workers, driver, dice)
        for number in range(ROUNDS_OF_TROUBLE):
            if number < 10:
                await driver.start(f"order-{number}")
            await trouble.make()
            await driver.round(dice.choice([100, 500, 2_500]))
        await trouble.end()
        await driver.finish()
        check_outcomes(simulation, scripts, ledger)
        await check_status_events(simulation, sink)


@pytest.mark.parametrize("seed", list(range(FIRST_SEED, FIRST_SEED + PAUSES)))
async def test_pauses_and_steps_of_the_clock_interrupt_nothing(seed: int) -> None:
    dice = random.Random(seed)
    scripts = {"order": tuple(_script(dice)), "child": (Step("pack"), Wait("rest", ms=700))}
    async with Simulation() as simulation:
        ledger = Ledger()
        workers = [
            ScriptedWorker(simulation, scripts, worker_id=f"worker-{number}", ledger=ledger)
            for number in range(2)
        ]
        driver = Driver(simulation, workers, ledger)
        for number in range(ROUNDS_OF_TROUBLE):
            await driver.start(f"order-{number}")
            match dice.randint(0, 3):
                case 0:
                    simulation.machine.set_wall_clock(dice.choice([-DAY_MS, 0, DAY_MS]))
                case 1:
                    simulation.clock.advance(dice.choice([5_000, 60_000]))
                case 2:
                    # The stream breaks over the pause: the worker took the server for dead.
                    worker = dice.choice(workers)
                    worker.disconnect()
                    simulation.clock.advance(60_000)
                    await simulation.pass_ms(dice.choice([0, 400, 1_500]))
                    await worker.connect()
                case _:
                    pass
            await driver.round(dice.choice([100, 500, 2_500]))
        await driver.finish()
        check_outcomes(simulation, scripts, ledger)
        ends = [
            event.error
            for row in simulation.rows()
            for record in simulation.records(row.key)
            for event in record.events
            if isinstance(event, InvocationCompleted)
        ]
        assert ends
        assert set(ends) == {None}


def _script(dice: random.Random) -> Iterator[Step | Wait | Callback | Invoke]:
    """Return a handler of some operations of every kind."""
    kinds = dice.choices("sofwci", weights=(6, 3, 2, 2, 2, 2), k=dice.randint(3, 9))
    for number, kind in enumerate(kinds):
        match kind:
            case "s":
                yield Step(f"step-{number}")
            case "o":
                yield Step(f"once-{number}", at_most_once=True)
            case "f":
                yield Step(f"flaky-{number}", fails=dice.randint(1, 2))
            case "w":
                yield Wait(f"wait-{number}", ms=dice.choice([1, 300, 4_000]))
            case "c":
                yield Callback(f"call-{number}")
            case _:
                yield Invoke(f"invoke-{number}")


def _worker(
    simulation: Simulation,
    scripts: dict[str, Script],
    worker_id: str,
    ledger: Ledger,
    dice: random.Random,
) -> ScriptedWorker:
    return ScriptedWorker(
        simulation,
        scripts,
        worker_id=worker_id,
        slots=dice.choice([1, 4, 50]),
        ledger=ledger,
        dice=dice,
        trouble_share=dice.choice([0.0, 0.1, 0.3]),
    )


class _Trouble:
    """What goes wrong, by the dice."""

    def __init__(
        self,
        simulation: Simulation,
        workers: list[ScriptedWorker],
        driver: Driver,
        dice: random.Random,
    ) -> None:
        self._simulation = simulation
        self._workers = workers
        self._driver = driver
        self._dice = dice
        self._paused: str | None = None

    async def make(self) -> None:
        """Make something fail, or work again."""
        link = self._simulation.host.link
        link.away = False
        link.roll(self._dice, self._dice.choice([0.0, 0.0, 0.2]))
        match self._dice.randint(0, 11):
            case 0:
                await self._driver.restart()
            case 1:
                link.away = True
            case 2:
                self._dice.choice(self._workers).die()
            case 3:
                self._dice.choice(self._workers).disconnect()
            case 4:
                await self._pause()
            case 5 | 6:
                await self._reconnect()
            case 7:
                # Everything stops for a while, and then everything is late.
                self._simulation.clock.advance(self._dice.choice([900, 5_000, 60_000, 3_600_000]))
            case 8:
                ahead_ms = self._dice.choice([-DAY_MS, -5_000, 5_000, DAY_MS])
                self._simulation.machine.set_wall_clock(ahead_ms)
            case _:
                pass

    async def end(self) -> None:
        """Make nothing fail from now on."""
        self._simulation.host.link.away = False
        self._simulation.host.link.roll(None)
        for worker in self._workers:
            worker.recover()
        await self._driver.round(5_000)
        await self._reconnect()
        while self._paused is not None:
            await self._resume()
            await self._driver.round()

    async def _reconnect(self) -> None:
        for worker in self._workers:
            if not worker.connected.is_set():
                with contextlib.suppress(HostError):
                    await worker.connect()

    async def _pause(self) -> None:
        if self._paused is not None:
            await self._resume()
            return
        names = [name for name, arn in self._driver.arns.items() if arn is not None]
        if names:
            self._paused = self._dice.choice(names)
            host, arn = self._simulation.host, self._driver.arns[self._paused]
            assert arn is not None
            with contextlib.suppress(HostError, Refused):
                await host.call(host.history.commands.pause(arn, reason=None, timeout_paused=True))

    async def _resume(self) -> None:
        assert self._paused is not None
        if await self._driver.control(self._paused, paused=False):
            self._paused = None
