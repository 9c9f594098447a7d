"""Histories exported by a live server, replayed by the kit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure import DurableContext
from perdure.testing import ExecutionHistory, InvocationStatus, ReplayMismatch, replay
from tests.system.processes import ROOT, Machine, wait_until
from tests.testing.programs import approval, double, quick


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that serves the programs of these tests."""
    with Machine(tmp_path) as machine:
        machine.start_server()
        machine.start_worker(ROOT / "tests" / "testing" / "programs.py")
        machine.wait_for_worker("quick")
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def test_an_exported_history_is_replayed_against_old_and_new_code(
    machine: Machine, tmp_path: Path
) -> None:
    def changed(event: dict[str, int], context: DurableContext) -> int:
        return context.step(double(event["number"]), name="inside")

    file = tmp_path / "quick.json"
    with machine.client() as client:
        client.run("quick", {"number": 4}, name="one")
        (execution,) = client.list_executions(function_name="quick")
    exported = machine.perdure("executions", "export", execution.execution_arn, "--file", str(file))
    assert (exported.returncode, exported.stdout) == (0, "")
    assert ExecutionHistory.load(file).status == "SUCCEEDED"
    assert replay(file, quick).result == "8"
    with pytest.raises(ReplayMismatch, match="CONTEXT"):
        replay(file, changed)


def test_a_history_that_goes_on_is_exported_to_standard_output(
    machine: Machine, tmp_path: Path
) -> None:
    with machine.client() as client:
        arn = client.start("approval", {"number": 4}).execution_arn
        wait_until(lambda: client.get(arn).waiting_for == "callback", "it asks")
    exported = machine.perdure("executions", "export", arn)
    history = ExecutionHistory.from_json(exported.stdout)
    assert (history.status, history.function_name) == ("RUNNING", "approval")
    assert replay(history, approval).status is InvocationStatus.PENDING
    nowhere = machine.perdure("executions", "export", arn, "--file", str(tmp_path / "no" / "file"))
    assert (nowhere.returncode, "cannot write" in nowhere.stderr) == (2, True)
