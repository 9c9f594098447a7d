"""Processes that are stopped for a while (SIGSTOP): the server, a worker, or both."""

import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure.client import Client
from tests.system.ledger import LEDGER_VARIABLE, Reader
from tests.system.processes import ROOT, Machine, Running, wait_until
from tests.system.quick_heartbeats import HEARTBEAT_TIMEOUT_MS

PROGRAM = ROOT / "tests" / "system" / "steady_programs.py"
STOPPED_S = 2.5 * HEARTBEAT_TIMEOUT_MS / 1_000


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with quick heartbeats; nothing runs yet."""
    environment = {LEDGER_VARIABLE: str(tmp_path / "ledger")}
    command = ("tests.system.quick_heartbeats",)
    with Machine(tmp_path, environment=environment, command=command) as machine:
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


@contextmanager
def stopped(*processes: Running) -> Generator[None]:
    """Stop processes, and let them go on at the end."""
    for process in processes:
        process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send(signal.SIGCONT)


class Steady:
    """Executions of the steady function, and what they have left in the ledger."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.until = folder / "go"
        self.begun: list[str] = []
        self._reader = Reader(folder / "ledger")

    def start(self, order: str, semantics: str = "at most once") -> str:
        event = {"order": order, "until": str(self.until), "semantics": semantics}
        return self.client.start("steady", event, name=order).execution_arn

    def wait_begun(self, count: int) -> None:
        def has_begun() -> bool:
            self.begun += [entry.order for entry in self._reader.new()]
            return len(self.begun) >= count

        wait_until(has_begun, f"{count} steps have begun")

    def interruptions(self, arn: str) -> list[str | None]:
        return [
            event.error.error_message
            for event in self.client.history(arn)
            if event.event_type == "InvocationCompleted" and event.error is not None
        ]


def test_a_stop_of_the_server_or_of_both_interrupts_nothing(machine: Machine) -> None:
    server = machine.start_server()
    worker = machine.start_worker(PROGRAM)
    machine.wait_for_worker("steady")
    with machine.client() as client:
        steady = Steady(client, machine.folder)
        arns = [steady.start("a"), steady.start("b", "again")]
        steady.wait_begun(2)
        machine.start_worker(PROGRAM, name="idle")
        for processes in [(server,), (server, worker)]:
            with stopped(*processes):
                time.sleep(STOPPED_S)
        # The server has judged everybody's silence several times once this is done.
        arns.append(steady.start("c"))
        steady.wait_begun(3)
        steady.until.touch()
        assert [client.wait(arn, timeout_s=30).result for arn in arns] == ["lasted"] * 3
        assert [steady.interruptions(arn) for arn in arns] == [[], [], []]
        assert sorted(steady.begun) == ["a", "b", "c"]


def test_a_worker_that_alone_was_stopped_has_lost_its_work_and_goes_on_with_other_work(
    machine: Machine,
) -> None:
    machine.start_server()
    worker = machine.start_worker(PROGRAM)
    machine.wait_for_worker("steady")
    with machine.client() as client:
        steady = Steady(client, machine.folder)
        arn = steady.start("a", "again")
        steady.wait_begun(1)
        with stopped(worker):
            machine.start_worker(PROGRAM, name="other")
            steady.wait_begun(2)
        wait_until(lambda: "dropped" in worker.log_text(), "the worker hears of it", worker)
        assert len(steady.interruptions(arn)) == 1
        machine.kill("other")
        # What the other one ran comes back to the first, which has room for it.
        steady.wait_begun(3)
        steady.until.touch()
        assert client.wait(arn, timeout_s=30).result == "lasted"
        assert steady.begun == ["a", "a", "a"]
