"""Orders outlive SIGKILL: server and worker are killed at random moments, and nothing is lost.

Histories are checked against a ledger outside of the system, written by the steps and by an
approver. The seed of the dice is printed; PERDURE_TEST_SEED sets it.
"""

import asyncio
import contextlib
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from perdure import AsyncClient
from perdure.client import FailedPreconditionError
from tests.postgres import PostgresServer, postgres_server
from tests.system.judge import OrderReport, problems
from tests.system.ledger import LEDGER_VARIABLE, Entry, Reader, write_down
from tests.system.processes import ROOT, Machine

ORDERS: Final = 300
KILLS: Final = 24
QUIET_S_MAX: Final = 2.5
POLL_S: Final = 0.05
DONE_S_MAX: Final = 400.0
PATIENCE_S: Final = 400.0
PROGRAM: Final = ROOT / "tests" / "system" / "chaos_program.py"


@pytest.fixture
def place(db_url: str, tmp_path: Path) -> Iterator[Machine]:
    """A machine with a database of each kind."""
    ledger = {LEDGER_VARIABLE: str(tmp_path / "ledger")}
    with Machine(tmp_path, db_url, environment=ledger) as machine:
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


@dataclass(frozen=True)
class KillPlan:
    """How many orders, how many kills, and which processes die together."""

    orders: int
    kills: int
    victims: Sequence[tuple[str, ...]]
    database: PostgresServer | None = None


class Chaos:
    """Customers who start orders, an approver who answers, and random kills."""

    def __init__(
        self, machine: Machine, client: AsyncClient, plan: KillPlan, dice: random.Random
    ) -> None:
        self._machine = machine
        self._client = client
        self._plan = plan
        self._dice = dice
        self._ledger = Reader(machine.folder / "ledger")
        self.entries: list[Entry] = []
        self.arns: dict[int, str] = {}
        self.kills = 0
        self._killed = asyncio.Condition()
        self.violations = 0.0

    async def play(self) -> None:
        """Run all of them until every order has ended."""
        self._machine.start_server()
        self._machine.start_worker(PROGRAM)
        self._machine.wait_for_worker("chaos_order")
        async with asyncio.timeout(DONE_S_MAX), asyncio.TaskGroup() as group:
            approver = group.create_task(self._approve_all())
            supervisor = group.create_task(self._supervise())
            killer = group.create_task(self._kill())
            await asyncio.gather(*(self._order(number) for number in range(self._plan.orders)))
            await killer
            approver.cancel()
            supervisor.cancel()
        self.entries.extend(self._ledger.new())

    async def report(self, number: int) -> OrderReport:
        """Return the system's report of an order."""
        arn = self.arns[number]
        history = [event async for event in self._client.history(arn)]
        execution = await self._client.get(arn)
        return OrderReport(
            order=name(number), rest_s=rest_s(number), execution=execution, history=history
        )

    async def look_at_violations(self) -> None:
        """Add up what the scanner has found since the server was started."""
        with contextlib.suppress(httpx.HTTPError):  # it may be starting
            metrics = await asyncio.to_thread(self._machine.metrics)
            self.violations += metrics.value("perdure_invariant_violations_total")

    async def _order(self, number: int) -> None:
        """Start an order after so many kills, and wait for its end."""
        async with self._killed:
            await self._killed.wait_for(
                lambda: self.kills * self._plan.orders >= number * self._plan.kills
            )
        payload = {
            "order": name(number),
            "failures": number % 3,
            "rest_s": rest_s(number),
            "patience_s": 2 if is_ignored(number) else 100,
        }
        started = await self._client.start("chaos_order", payload, name=name(number))
        self.arns[number] = started.execution_arn
        await self._client.wait(started.execution_arn)

    async def _approve_all(self) -> None:
        asked: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:  # until cancelled
                for entry in self._ledger.new():
                    self.entries.append(entry)
                    if entry.who == "ask" and entry.outcome not in asked:
                        asked.add(entry.outcome)
                        group.create_task(self._answer(entry.order, entry.outcome))
                await asyncio.sleep(POLL_S)

    async def _answer(self, order: str, callback_id: str) -> None:
        number = int(order.removeprefix("order-"))
        if is_ignored(number):
            return
        outcome = "CallbackExternalError" if number % 10 == 3 else f"yes to {order}"
        # Completed already: the answer to an earlier try was lost with the server that gave it.
        with contextlib.suppress(FailedPreconditionError):
            if number % 10 == 3:
                await self._client.fail_callback(callback_id, error_type="No", error_message=order)
            else:
                await self._client.succeed_callback(callback_id, result_text=outcome)
        written = Entry(order=order, who="approver", what="answers", outcome=outcome)
        write_down(written, self._machine.folder / "ledger")

    async def _kill(self) -> None:
        while self.kills < self._plan.kills:
            if self._dice.random() < 0.8 and self._plan.database is None:
                await asyncio.to_thread(self._machine.wait_until_serving)
            await asyncio.sleep(self._dice.uniform(0, QUIET_S_MAX))
            await self.look_at_violations()
            for victim in self._dice.choice(self._plan.victims):
                await self._replace(victim)
                self.kills += 1
            async with self._killed:
                self._killed.notify_all()

    async def _replace(self, victim: str) -> None:
        """Kill a process, and start a successor."""
        if victim == "database":
            assert self._plan.database is not None
            await asyncio.to_thread(self._plan.database.kill)
            await asyncio.to_thread(self._plan.database.start)
            return
        self._machine.kill(victim)
        if victim == "server":
            self._machine.start_server(ready=False)
        else:
            self._machine.start_worker(PROGRAM)

    async def _supervise(self) -> None:
        """Restart a server that found no database at its start; no other process may end."""
        while True:  # until cancelled
            if self._plan.database is not None and self._machine.exit_status("server") == 6:
                self._machine.kill("server")
                self._machine.start_server(ready=False)
            self._machine.check()
            await asyncio.sleep(POLL_S)


def name(number: int) -> str:
    """Return the name of an order."""
    return f"order-{number}"


def rest_s(number: int) -> int:
    """Return for how long an order waits."""
    return 1 + number % 3


def is_ignored(number: int) -> bool:
    """Return whether the approver ignores an order."""
    return number % 15 == 7


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_every_order_ends_well_while_server_and_worker_are_killed(
    place: Machine, record_property: Callable[[str, object], None]
) -> None:
    plan = KillPlan(ORDERS, KILLS, [("server",), ("worker",), ("server", "worker")])
    chaos, reports = play(place, plan, record_property)
    assert problems(chaos.entries, reports) == []
    assert chaos.kills >= 20
    assert chaos.violations == 0
    assert interruptions(reports) > 0


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_every_order_ends_well_while_the_database_is_killed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    ledger = {LEDGER_VARIABLE: str(tmp_path / "ledger")}
    with (
        postgres_server() as database,
        Machine(tmp_path, database.create_database(), environment=ledger) as machine,
    ):
        victims = [("database",), ("database", "worker"), ("server",)]
        chaos, reports = play(machine, KillPlan(100, 10, victims, database), record_property)
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure
    assert problems(chaos.entries, reports) == []
    assert chaos.violations == 0


def play(
    machine: Machine, plan: KillPlan, record_property: Callable[[str, object], None]
) -> tuple[Chaos, list[OrderReport]]:
    """Run it with new dice, and return the reports of every order."""
    seed = int(os.environ.get("PERDURE_TEST_SEED", "0")) or secrets.randbits(32)
    print(f"PERDURE_TEST_SEED={seed}")  # noqa: T201 - pytest keeps it for the report of a failure

    async def ordeal() -> tuple[Chaos, list[OrderReport]]:
        async with machine.async_client(PATIENCE_S) as client:
            chaos = Chaos(machine, client, plan, random.Random(seed))
            await chaos.play()
            await chaos.look_at_violations()
            return chaos, [await chaos.report(number) for number in range(plan.orders)]

    began_s = time.monotonic()
    chaos, reports = asyncio.run(ordeal())
    record_property("figures", summary(chaos, reports, time.monotonic() - began_s))
    return chaos, reports


def interruptions(reports: list[OrderReport]) -> int:
    """Count the attempts at most once that a kill has cut off."""
    return sum(
        "StepInterruptedError" in ((event.error and event.error.error_type) or "")
        for each in reports
        for event in each.history
    )


def summary(chaos: Chaos, reports: list[OrderReport], took_s: float) -> str:
    """Return the figures of the run as text."""
    starts = [each for each in chaos.entries if each.what == "begins"]
    attempts = {(each.order, each.who, each.attempt) for each in starts}
    return (
        f"{len(reports)} orders, {chaos.kills} kills, {took_s:.0f} s: {len(starts)} runs of steps, "
        f"{len(starts) - len(attempts)} of them again in the same attempt, "
        f"{interruptions(reports)} attempts at most once cut off; "
        f"{sum(len(each.history) for each in reports)} events"
    )
