"""Long, hanging and dying bodies of steps, on real servers with workers that are killed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from perdure import Client
from tests.system.ledger import LEDGER_VARIABLE, Reader
from tests.system.processes import ROOT, Machine, wait_until

PROGRAMS: Final = ROOT / "tests" / "system" / "control_programs.py"
TIMEOUT_TYPE: Final = "perdure.exceptions.StepTimeoutError"
END_S_MAX: Final = 60.0


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that serves the steps in question."""
    with Machine(tmp_path, environment={LEDGER_VARIABLE: str(tmp_path / "ledger")}) as machine:
        machine.start_server()
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("hanging")
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def kinds(client: Client, arn: str, name: str) -> list[str]:
    """Return the types of the events of an operation."""
    return [event.event_type for event in client.history(arn) if event.name == name]


def test_a_body_that_hangs_is_left_behind(machine: Machine) -> None:
    with machine.client() as client:
        for _ in range(2):  # the worker goes on with what comes next
            assert client.run("hanging", timeout_s=END_S_MAX) == TIMEOUT_TYPE


def test_the_heartbeats_of_a_body_survive_its_worker(machine: Machine) -> None:
    with machine.client() as client:
        arn = client.start("importing").execution_arn
        wait_until(
            lambda: "StepSucceeded" in kinds(client, arn, "reported"), "the step beside it ends"
        )
        machine.kill("worker")
        machine.start_worker(PROGRAMS)
        assert client.result(arn, timeout_s=END_S_MAX) == {"row": 7}
        assert kinds(client, arn, "copy") == ["StepStarted", "StepSucceeded"]


def test_the_time_of_an_attempt_runs_while_no_worker_is_there(
    machine: Machine, tmp_path: Path
) -> None:
    ledger = Reader(tmp_path / "ledger")
    with machine.client() as client:
        arn = client.start("dying").execution_arn
        wait_until(lambda: [entry.what for entry in ledger.new()] == ["begins"], "it begins")
        machine.kill("worker")
        (began,) = [event for event in client.history(arn) if event.event_type == "StepStarted"]
        over = began.at + timedelta(seconds=1)
        wait_until(lambda: datetime.now(UTC) > over, "its time is over")
        machine.start_worker(PROGRAMS)
        assert client.result(arn, timeout_s=END_S_MAX) == TIMEOUT_TYPE
        assert kinds(client, arn, "work") == ["StepStarted", "StepFailed"]
    assert ledger.new() == []
