"""The command against a real server: refusals by their exit status, interruptions, reloads.

What the client commands do when all goes well is claimed in tests/system.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from perdure_cli.main import app
from tests.system.processes import ROOT, Machine, wait_until

PROGRAM = """
from perdure import durable_execution
from perdure.config import Duration, StepConfig
from perdure.retries import RetryPresets


@durable_execution
def greet(event, context):
    return "good morning"


RUNS = []


@durable_execution
def waver(event, context):
    RUNS.append(1)
    context.wait(Duration.from_milliseconds(1), name="first" if len(RUNS) == 1 else "second")


@durable_execution
def stumble(event, context):
    def work(step):
        raise ValueError("it never works")

    once = StepConfig(retry_strategy=RetryPresets.none())
    return context.step(work, name="work", config=once)


@durable_execution
def hold(event, context):
    return context.create_callback(name="release").result()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("program") / "greetings.py"
    file.write_text(PROGRAM)
    return file


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[Machine]:
    with Machine(tmp_path_factory.mktemp("machine")) as running:
        running.start_server()
        running.start_worker(program)
        running.wait_for_worker("hold")
        yield running


def perdure(machine: Machine, *arguments: str) -> Result:
    """Run a client command in this process, which starts sooner than another."""
    variables = {"PERDURE_SERVER": machine.server_address, "COLUMNS": "200"}
    done = CliRunner().invoke(app, arguments, env=variables)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def status(machine: Machine, *arguments: str) -> tuple[int, str]:
    done = perdure(machine, *arguments)
    assert done.exit_code == 0 or "error: " in done.stderr
    return done.exit_code, done.stderr


def held(machine: Machine, name: str) -> str:
    """Start an execution that waits for its callback; return its ARN."""
    done = perdure(machine, "invoke", "hold", "--name", name, "--detach")
    assert done.exit_code == 0
    return done.stdout.strip()


def test_an_unknown_function_is_not_found(machine: Machine) -> None:
    code, stderr = status(machine, "invoke", "nobody")
    assert (code, "'nobody'" in stderr) == (3, True)


def test_an_unknown_execution_is_not_found(machine: Machine) -> None:
    arn = held(machine, "known")
    stranger = arn[:-4] + ("0000" if arn[-4:] != "0000" else "1111")
    for command in ("get", "history", "stop", "pause", "resume", "delete"):
        assert status(machine, "executions", command, stranger)[0] == 3
    assert status(machine, "executions", "history", "--follow", stranger)[0] == 3


def test_a_malformed_arn_is_invalid_and_named(machine: Machine) -> None:
    for command in ("get", "history", "stop", "pause", "resume", "delete"):
        code, stderr = status(machine, "executions", command, "arn:nonsense")
        assert (code, "arn:nonsense" in stderr) == (2, True)


def test_a_malformed_callback_id_is_invalid(machine: Machine) -> None:
    for command in ("succeed", "fail", "heartbeat"):
        assert status(machine, "callbacks", command, "nonsense")[0] == 2


def test_a_name_with_another_payload_is_a_conflict(machine: Machine) -> None:
    held(machine, "taken")
    code, stderr = status(machine, "invoke", "hold", "--name", "taken", "--payload", "1", "-d")
    assert (code, "taken" in stderr) == (4, True)


def test_a_callback_completed_otherwise_is_a_conflict(machine: Machine) -> None:
    arn = held(machine, "once")

    def ids() -> list[str]:
        found = json.loads(perdure(machine, "executions", "get", arn, "-o", "json").stdout)
        return [each["callback_id"] for each in found["open_callbacks"]]

    wait_until(lambda: ids() != [], "the callback is open")
    (callback_id,) = ids()
    for result, code in (("1", 0), ("1", 0), ("2", 4)):
        assert status(machine, "callbacks", "succeed", callback_id, "--result", result)[0] == code


def test_a_running_execution_cannot_be_deleted(machine: Machine) -> None:
    assert status(machine, "executions", "delete", held(machine, "busy"))[0] == 4


def test_an_execution_that_diverges_is_told_by_command_worker_and_server(machine: Machine) -> None:
    code, stderr = status(machine, "invoke", "waver", "--name", "waver")
    assert code == 9
    assert "recorded:  WAIT (Wait) 'first'" in stderr
    assert "requested: WAIT (Wait) 'second', at " in stderr
    worker = (machine.folder / "worker.log").read_text()
    server = (machine.folder / "server.log").read_text()
    for log, sign in (
        (worker, "waver 'waver' is paused: a replay diverged"),
        (server, "diverged"),
    ):
        (line,) = [line for line in log.splitlines() if sign in line]
        assert "'first'" in line
        assert "greetings.py:" in line


def test_a_failed_attempt_and_execution_leave_a_line_each_and_show_their_frames(
    machine: Machine,
) -> None:
    code, stderr = status(machine, "invoke", "stumble", "--name", "stumble")
    assert (code, "it never works" in stderr) == (1, True)
    arn = stderr.splitlines()[0]
    log = (machine.folder / "worker.log").read_text().splitlines()
    attempt, execution = (line for line in log if "stumble 'stumble'" in line)
    assert "attempt 1 of 'work' failed: ValueError: it never works (" in attempt
    assert "; it is not tried again" in attempt
    assert "stumble 'stumble' failed: " in execution
    assert arn in attempt
    assert arn in execution
    assert ", in stumble" in perdure(machine, "executions", "get", arn).stdout
    assert ", in work" in perdure(machine, "executions", "history", arn).stdout


def test_a_wait_ends_at_its_timeout(machine: Machine) -> None:
    code, stderr = status(machine, "invoke", "hold", "--name", "slow", "--timeout", "0.5")
    assert code == 7
    assert "the execution goes on: perdure executions history --follow" in stderr


def test_an_interrupted_wait_prints_how_to_go_on(machine: Machine) -> None:
    command = [sys.executable, "-m", "perdure_cli", "invoke", "hold", "--name", "interrupted"]
    with subprocess.Popen(
        [*command, "--server", machine.server_address],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stderr is not None
        while "arn:" not in waiting.stderr.readline():  # bounded by the test's time
            assert waiting.poll() is None
        waiting.send_signal(signal.SIGINT)
        stdout, stderr = waiting.communicate(timeout=60)
    assert (waiting.returncode, stdout) == (130, "")
    assert "the execution goes on: perdure executions history --follow" in stderr
    assert "Traceback" not in stderr


def test_dev_serves_the_newest_code_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "greetings.py"
    file.write_text(PROGRAM)
    with Machine(tmp_path) as machine:
        addresses = ("--grpc", machine.server_address, "--http", machine.http_address)
        dev = machine.start("dev", "dev", str(file), "--db", machine.db_url, *addresses)

        def greeting() -> str:
            dev.check()
            return machine.perdure("invoke", "greet", "--timeout", "5").stdout

        wait_until(lambda: greeting() == '"good morning"\n', "the code is served", dev)
        file.write_text(PROGRAM.replace("morning", "evening"))
        wait_until(lambda: greeting() == '"good evening"\n', "the new code is served", dev)
        family = psutil.Process(dev.pid).children(recursive=True)
        assert family != []
        assert machine.stop("dev") == 0
        assert [each for each in family if each.is_running()] == []
