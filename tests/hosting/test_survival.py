"""Hosted handlers while servers and workers restart and executions pause."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.hosting.conftest import FUNCTIONS
from tests.hosting.hosted import WORKER, HostedMachine
from tests.hosting.sdks import hosting_machine
from tests.system.processes import wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[HostedMachine]:
    with hosting_machine(tmp_path, FUNCTIONS) as fresh:
        yield fresh


def test_a_handler_outlives_a_restart_of_the_server(hosted: HostedMachine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    arn = hosted.start("holds", {"gate": str(gate)})
    wait_until(lambda: "StepSucceeded" in kinds(hosted, arn), "the first step is recorded")
    hosted.machine.kill("server")
    gate.touch()
    hosted.machine.start_server()
    wait_until(lambda: ended(hosted, arn), "the execution ends")
    # One invocation: the handler never knew.
    assert kinds(hosted, arn).count("InvocationCompleted") == 1
    assert hosted.events(arn)[-1]["EventType"] == "ExecutionSucceeded"


def test_processes_end_with_their_worker_and_the_work_goes_on(
    hosted: HostedMachine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    arn = hosted.start("holds", {"gate": str(gate)})
    wait_until(lambda: "StepSucceeded" in kinds(hosted, arn), "the first step is recorded")
    worker = psutil.Process(hosted.worker_pid)
    children = worker.children(recursive=True)
    assert children != []
    hosted.machine.kill(WORKER)
    wait_until(lambda: not any(map(is_alive, children)), "the handlers' processes end")
    gate.touch()
    hosted.start_worker()
    wait_until(lambda: ended(hosted, arn), "the execution ends")
    assert kinds(hosted, arn).count("StepStarted") == 2


def test_a_pause_takes_the_turn_away_and_a_resume_gives_it_back(
    hosted: HostedMachine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    arn = hosted.start("holds", {"gate": str(gate)})
    wait_until(lambda: "StepSucceeded" in kinds(hosted, arn), "the first step is recorded")
    hosted.client.pause_durable_execution(DurableExecutionArn=arn)
    gate.touch()
    wait_until(lambda: "ExecutionPaused" in kinds(hosted, arn), "the execution is paused")
    hosted.client.resume_durable_execution(DurableExecutionArn=arn)
    wait_until(lambda: ended(hosted, arn), "the execution ends")
    assert hosted.events(arn)[-1]["EventType"] == "ExecutionSucceeded"


def test_a_worker_that_is_stopped_leaves_no_process(hosted: HostedMachine) -> None:
    hosted.invoke("plain")
    worker = psutil.Process(hosted.worker_pid)
    children = worker.children(recursive=True)
    assert children != []
    assert hosted.machine.stop(WORKER) == 0
    assert not any(map(is_alive, children))


def test_a_template_is_hosted_as_it_stands(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(
        f"""
Transform: AWS::Serverless-2016-10-31
Resources:
  Caller:
    Type: AWS::Serverless::Function
    Properties:
      Handler: aws_programs.calls
      CodeUri: {FUNCTIONS.parent}
      Runtime: python3.11
      Timeout: 60
      DurableConfig: {{ExecutionTimeout: 300, RetentionPeriodInDays: 7}}
      Environment: {{Variables: {{TARGET: !Sub "${{Adder.Arn}}:$LATEST"}}}}
  Adder:
    Type: AWS::Serverless::Function
    Properties:
      Handler: aws_programs.steps
      CodeUri: {FUNCTIONS.parent}
      Timeout: 60
      DurableConfig: {{ExecutionTimeout: 300}}
""",
        encoding="utf-8",
    )
    with hosting_machine(tmp_path, template) as hosted:
        assert hosted.invoke("Caller").result == {"total": 4}


def kinds(hosted: HostedMachine, arn: str) -> list[str]:
    return [event["EventType"] for event in hosted.events(arn)]


def ended(hosted: HostedMachine, arn: str) -> bool:
    return kinds(hosted, arn)[-1] in ("ExecutionSucceeded", "ExecutionFailed")


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
