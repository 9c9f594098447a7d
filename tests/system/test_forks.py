"""Processes that are forked in a step or beside a client: the worker goes on, nobody hangs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import ROOT, Machine

HERE = Path(__file__).parent

HELD = """
from perdure import durable_execution


@durable_execution
def held(event, context):
    return context.create_callback(name="release").result()
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    (folder / "held.py").write_text(HELD)
    with Machine(folder) as running:
        running.start_server()
        running.set_variable("FORKING_SERVER", running.server_address)
        running.start_worker(HERE / "forking_programs.py", folder / "held.py")
        running.wait_for_worker("forking")
        yield running


def run(machine: Machine, what: str, function: str = "forking") -> Any:
    """Return the result of an execution; the worker must have gone on."""
    with machine.client() as client:
        result = client.run(function, what, timeout_s=60)
    machine.check()
    return result


@pytest.mark.parametrize("function", ["forking", "forking_async"])
def test_a_child_is_ended_by_sigterm_and_the_worker_is_not(machine: Machine, function: str) -> None:
    assert run(machine, "terminate", function) == -signal.SIGTERM


def test_a_signal_that_comes_with_the_birth_reaches_the_child_alone(machine: Machine) -> None:
    assert run(machine, "newborns") == [-signal.SIGTERM] * 20


def test_a_program_that_is_started_by_a_fork_has_the_default_handlers(machine: Machine) -> None:
    assert run(machine, "program") == "SIG_DFL"


def test_a_client_works_in_a_child_of_a_worker(machine: Machine) -> None:
    assert run(machine, "ask") == ["forking", "forking_async", "held"]


def test_a_context_in_a_child_says_that_it_can_record_nothing(machine: Machine) -> None:
    assert "a forked process can record nothing" in run(machine, "context")


@pytest.mark.parametrize("function", ["forking", "forking_async"])
def test_a_child_that_comes_back_from_its_step_is_ended(machine: Machine, function: str) -> None:
    assert run(machine, "return", function) == 1
    assert "came back out of it" in machine.logs_text()


def test_a_child_that_exits_has_its_own_status(machine: Machine) -> None:
    assert run(machine, "exit") == 3


def test_a_client_works_in_children_of_any_program(machine: Machine) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "forking_client.py"), machine.server_address, "forking"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("GRPC")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = ["forking", "forking_async", "held"]
    before, after, *others = [json.loads(line) for line in done.stdout.splitlines()]
    # gRPC itself where nothing of it was used before, and otherwise a process of one's own.
    assert (before, after) == ([names, 0], [names, 1])
    followed, malformed, unknown, unreadable, fresh, from_async = others
    assert followed == "ExecutionSucceeded"
    assert malformed.startswith("InvalidArgumentError: malformed")
    assert unknown == "function_not_found"
    assert unreadable.startswith("InvalidArgumentError: cannot read the token file /nowhere")
    assert fresh == names
    assert from_async.startswith("FailedPreconditionError: this process was forked from one that")
