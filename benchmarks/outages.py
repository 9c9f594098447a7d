"""Outages of PostgreSQL under load, with a standby: what is lost, who lives, how soon it is known.

    python -m benchmarks outages

Every connection is dropped, PostgreSQL is killed and started twice, and then it is away for a
minute, while executions are started at a fixed rate. Exits with 1 unless nothing was lost, both
servers live and keep their parts, readiness follows within a second, and the log has one line for
each change. `tests/system/test_database_outages.py` holds the short form.
"""

import contextlib
import itertools
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import httpx
import psycopg

from perdure import Client
from perdure.client.errors import ClientError
from tests.postgres import PostgresServer, postgres_server
from tests.system.processes import ROOT, Machine, wait_until

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"
PER_S: Final = 100
CALLERS: Final = 20
AWAY_S: Final = 60.0
BETWEEN_S: Final = 10.0
LOOK_S: Final = 0.1
# Readiness must follow a change within this time.
KNOWN_S_MAX: Final = 1.0
# So long the callers try, and executions may take to end afterwards.
PATIENCE_S: Final = 180.0
BEGIN: Final = "the database is unavailable; serving nothing"
END: Final = "the database is back; serving again"


class Load:
    """Callers that start executions at a fixed rate, and note those that were acknowledged."""

    def __init__(self, machine: Machine) -> None:
        self.arns: list[str] = []
        self.failures: list[str] = []
        self._machine = machine
        self._stop = threading.Event()
        self._callers = [threading.Thread(target=self._call, args=(n,)) for n in range(CALLERS)]

    def __enter__(self) -> Self:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for caller in self._callers:
            caller.join()

    def _call(self, number: int) -> None:
        period_s = CALLERS / PER_S
        due_s = time.monotonic() + period_s * number / CALLERS
        with Client(self._machine.server_address, patience_s=PATIENCE_S) as client:
            for count in itertools.count():  # ends with the load
                # Who was held up starts the next at once, and does not make up for the others.
                due_s = max(due_s + period_s, time.monotonic() - period_s)
                if self._stop.wait(max(0.0, due_s - time.monotonic())):
                    return
                try:
                    started = client.start("three_steps", number, name=f"n{number}-{count}")
                except ClientError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                else:
                    self.arns.append(started.execution_arn)


@dataclass(frozen=True)
class Change:
    """An answer of a path that differs from the one before."""

    at_s: float
    code: int


class Health:
    """Looks at a health path all the time, and notes when its answer changes."""

    def __init__(self, machine: Machine, path: str) -> None:
        self.changes: list[Change] = []
        self._machine = machine
        self._path = path
        self._stop = threading.Event()
        self._looker = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._looker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._looker.join()

    def since(self, at_s: float, code: int) -> float | None:
        """Return how long after this moment the answer was first this, or None if it never was."""
        before = [change for change in self.changes if change.at_s <= at_s]
        if before and before[-1].code == code:
            return 0.0
        after = (change for change in self.changes if change.at_s > at_s)
        return next((change.at_s - at_s for change in after if change.code == code), None)

    def _look(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                code = self._machine.http(self._path).status_code
            except httpx.HTTPError:
                code = 0
            if not self.changes or self.changes[-1].code != code:
                self.changes.append(Change(time.monotonic(), code))


class Findings:
    """What is printed, and whether all of it is as it must be."""

    def __init__(self) -> None:
        self.is_good = True

    def say(self, claim: str, found: object, *, holds: bool) -> None:
        """Print a line, and remember whether the claim holds."""
        self.is_good &= holds
        print(f"  {'ok   ' if holds else 'WRONG'} {claim}: {found}", flush=True)


def drop_connections(database: PostgresServer) -> None:
    """End every session of PostgreSQL but this one."""
    with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def lines(machine: Machine, text: str) -> int:
    """Return how often the log of the server has this text."""
    return (machine.folder / "server.log").read_text(errors="replace").count(text)


def main() -> None:
    """Run the scenario once, and print what was seen."""
    findings = Findings()
    with postgres_server(durable=True) as database, tempfile.TemporaryDirectory() as folder:
        url = database.create_database()
        folders = [Path(folder) / name for name in ("live", "standby")]
        for each in folders:
            each.mkdir()
        with Machine(folders[0], url) as live, Machine(folders[1], url) as standby:
            live.start_server("--node-name", "live")
            standby.start_server("--node-name", "standby", ready=False)
            live.start_worker(PROGRAMS)
            live.wait_for_worker("three_steps")
            wait_until(lambda: lines(standby, "standing by") == 1, "the other server stands by")
            _run(findings, database, live, standby)
    if not findings.is_good:
        raise SystemExit(1)


def _run(findings: Findings, database: PostgresServer, live: Machine, standby: Machine) -> None:
    with contextlib.ExitStack() as stack:
        ready = stack.enter_context(Health(live, "/healthz/ready"))
        alive = stack.enter_context(Health(live, "/healthz/live"))
        standing_by = stack.enter_context(Health(standby, "/healthz/ready"))
        load = stack.enter_context(Load(live))
        time.sleep(BETWEEN_S)
        print(f"  {len(load.arns) / BETWEEN_S:.0f} executions started per second", flush=True)
        drop_connections(database)
        time.sleep(BETWEEN_S)
        for number in (1, 2):
            _away(findings, f"restart {number}", database, ready, away_s=0.0)
        _away(findings, f"away for {AWAY_S:.0f} s", database, ready, away_s=AWAY_S)
    live.check()
    standby.check()
    findings.say("both servers live", "yes", holds=True)
    findings.say(
        "liveness never changed",
        [each.code for each in alive.changes],
        holds=[each.code for each in alive.changes] == [200],
    )
    findings.say(
        "the standby never served",
        sorted({each.code for each in standing_by.changes}),
        holds=all(each.code == 503 for each in standing_by.changes),
    )
    changes = [each.code for each in ready.changes]
    downs = changes.count(503)
    begins, ends = lines(live, BEGIN), lines(live, END)
    findings.say("readiness", changes, holds=set(changes) == {200, 503} and changes[-1] == 200)
    # An outage may begin and end between two looks.
    findings.say(
        "log lines of begins and ends, for as many outages",
        (begins, ends, downs),
        holds=begins == ends >= downs,
    )
    findings.say("callers that were given up", load.failures[:3], holds=not load.failures)
    _count_lost(findings, live, load.arns)


def _away(
    findings: Findings, what: str, database: PostgresServer, ready: Health, *, away_s: float
) -> None:
    """Kill PostgreSQL, start it again after this long, and look when readiness follows."""
    went_s = time.monotonic()
    database.kill()
    time.sleep(away_s)
    database.start()
    back_s = time.monotonic()
    time.sleep(BETWEEN_S)
    if away_s:
        known_s = ready.since(went_s, 503)
        holds = known_s is not None and known_s <= KNOWN_S_MAX
        findings.say(f"{what}: not ready after", _seconds(known_s), holds=holds)
    again_s = ready.since(back_s, 200)
    holds = again_s is not None and again_s <= KNOWN_S_MAX
    findings.say(f"{what}: ready again after", _seconds(again_s), holds=holds)


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"


def _count_lost(findings: Findings, live: Machine, arns: list[str]) -> None:
    """Wait for every execution that was acknowledged."""
    lost: list[str] = []
    until_s = time.monotonic() + PATIENCE_S
    with live.client() as client:
        for arn in arns:
            while client.get(arn, include_data=False).status != "SUCCEEDED":
                if time.monotonic() > until_s:
                    lost.append(arn)
                    break
                time.sleep(LOOK_S)
    findings.say(
        f"executions that did not succeed, of {len(arns):,} acknowledged", len(lost), holds=not lost
    )
