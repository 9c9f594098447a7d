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

from tests.system.processes import ROOT, Machine, wait_until

PROGRAM = """
from perdure import durable_execution
from perdure.config import Duration


@durable_execution
def greet(event, context):
    return "good morning"


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


def status(machine: Machine, *arguments: str) -> tuple[int, str]:
    done = machine.perdure(*arguments)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "error: " in done.stderr
    return done.returncode, done.stderr


def held(machine: Machine, name: str) -> str:
    """Start an execution that waits for its callback; return its ARN."""
    done = machine.perdure("invoke", "hold", "--name", name, "--detach")
    assert done.returncode == 0
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


def test_a_callback_completed_twice_is_a_conflict(machine: Machine) -> None:
    arn = held(machine, "once")

    def ids() -> list[str]:
        found = json.loads(machine.perdure("executions", "get", arn, "-o", "json").stdout)
        return [each["callback_id"] for each in found["open_callbacks"]]

    wait_until(lambda: ids() != [], "the callback is open")
    (callback_id,) = ids()
    assert status(machine, "callbacks", "succeed", callback_id, "--result", "1")[0] == 0
    assert status(machine, "callbacks", "succeed", callback_id, "--result", "1")[0] == 4


def test_a_running_execution_cannot_be_deleted(machine: Machine) -> None:
    assert status(machine, "executions", "delete", held(machine, "busy"))[0] == 4


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
