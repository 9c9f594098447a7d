"""The order program, unchanged, on real processes, inspected and approved through the command."""

import json
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from perdure.client import Client, ExecutionDescription
from tests.system.processes import ROOT, Machine, wait_until

PROGRAM: Final = ROOT / "examples" / "order_processing.py"
END_S_MAX: Final = 60.0

# The program's dice fail in three of five attempts, and it gives up after the third.
HISTORY: Final = re.compile(
    "ExecutionStarted StepStarted StepSucceeded CallbackStarted StepStarted StepSucceeded "
    "InvocationCompleted CallbackSucceeded "
    "(StepStarted StepFailed InvocationCompleted ){0,2}"
    "(StepStarted StepSucceeded InvocationCompleted ExecutionSucceeded"
    "|StepStarted StepFailed InvocationCompleted ExecutionFailed)"
)


@pytest.fixture
def shop(machine: Machine) -> Machine:
    """A machine that serves the order program."""
    machine.start_server()
    machine.start_worker(PROGRAM)
    machine.wait_for_worker("lambda_handler")
    return machine


def printed_json(answer: "subprocess.CompletedProcess[str]") -> Any:
    """Return the JSON that a command printed."""
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def wait_for_callback(client: Client, arn: str) -> ExecutionDescription:
    """Wait until an order waits for its callback; return it."""
    wait_until(
        lambda: client.get(arn).waiting_for == "callback" and bool(client.get(arn).open_callbacks),
        "the order asks for approval",
    )
    return client.get(arn)


@pytest.mark.slow
def test_the_order_program_runs_as_the_history_promises(shop: Machine) -> None:
    with shop.client() as client:
        orders = [
            client.start("lambda_handler", {"order_id": str(number)}).execution_arn
            for number in range(6)
        ]
        for arn in orders:
            (callback,) = wait_for_callback(client, arn).open_callbacks
            client.succeed_callback(callback.callback_id, {"approved": True})
        for arn in orders:
            execution = client.wait(arn, timeout_s=END_S_MAX)
            history = list(client.history(arn))
            kinds = " ".join(event.event_type for event in history)
            assert HISTORY.fullmatch(kinds), kinds
            assert kinds.endswith(f"Execution{execution.status.title()}")
            assert [event.event_id for event in history] == list(range(1, len(history) + 1))
            failed = [event for event in history if event.event_type == "StepFailed"]
            attempts = [event.retry.attempt for event in failed if event.retry is not None]
            assert attempts == list(range(1, len(failed) + 1))


@pytest.mark.slow
def test_an_order_is_approved_and_looked_at_through_the_command(shop: Machine) -> None:
    payload = ("--payload", '{"order_id": "17"}', "--name", "order-17")
    started = printed_json(
        shop.perdure("invoke", "lambda_handler", *payload, "--detach", "--output", "json")
    )
    arn = started["execution_arn"]
    with shop.client() as client:
        wait_for_callback(client, arn)
    waiting = printed_json(shop.perdure("executions", "get", arn, "--output", "json"))
    assert (waiting["status"], waiting["execution_name"]) == ("RUNNING", "order-17")
    assert json.loads(waiting["input"]) == {"order_id": "17"}
    (callback,) = waiting["open_callbacks"]
    assert callback["name"] == "awaiting-approval"
    approval = ("succeed", callback["callback_id"], "--result", '{"approved": true}')
    assert printed_json(shop.perdure("callbacks", *approval, "--output", "json")) == {}
    assert shop.perdure("callbacks", *approval).returncode == 0  # so it is
    refusal = (*approval[:-1], '{"approved": false}')
    assert shop.perdure("callbacks", *refusal).returncode == 4  # it is completed otherwise

    with shop.client() as client:
        status = client.wait(arn, timeout_s=END_S_MAX).status
    history = printed_json(shop.perdure("executions", "history", arn, "--output", "json"))
    assert HISTORY.fullmatch(" ".join(event["event_type"] for event in history))
    listed = printed_json(
        shop.perdure("executions", "list", "--status", status, "--output", "json")
    )
    assert [(each["execution_arn"], each["status"]) for each in listed] == [(arn, status)]
    ended = printed_json(shop.perdure("executions", "get", arn, "--output", "json"))
    assert (ended["status"], ended["open_callbacks"]) == (status, [])
    again = shop.perdure("invoke", "lambda_handler", *payload)
    assert again.returncode == (0 if status == "SUCCEEDED" else 1), again.stderr
    assert "it was started before" in again.stderr


@pytest.mark.slow
def test_an_order_started_twice_under_one_name_runs_once_and_answers_both(shop: Machine) -> None:
    both_started = threading.Barrier(2)

    def order(_customer: int) -> tuple[bool, ExecutionDescription]:
        with shop.client() as client:
            both_started.wait()
            started = client.start("lambda_handler", {"order_id": "1"}, name="one")
            if started.started:
                (callback,) = wait_for_callback(client, started.execution_arn).open_callbacks
                client.succeed_callback(callback.callback_id, "yes")
            return started.started, client.wait(started.execution_arn, timeout_s=END_S_MAX)

    with ThreadPoolExecutor(2) as pool:
        (first, one), (second, other) = pool.map(order, range(2))
    assert {first, second} == {True, False}
    assert one == other
    with shop.client() as client:
        history = client.history(one.execution_arn)
        validated = [each.event_type for each in history if each.name == "validate_order"]
        assert validated == ["StepStarted", "StepSucceeded"]
        assert [each.execution_arn for each in client.list_executions()] == [one.execution_arn]


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_of_an_order(shop: Machine, tmp_path: Path) -> None:
    with shop.client() as client:
        arn = client.start("lambda_handler", {"order_id": "5"}).execution_arn
        (callback,) = wait_for_callback(client, arn).open_callbacks
        shop.kill("worker")
        client.succeed_callback(callback.callback_id, "yes")
        shop.kill("server")
        shop.start_server()
        shop.start_worker(PROGRAM)
        client.wait(arn, timeout_s=END_S_MAX)
        kinds = " ".join(event.event_type for event in client.history(arn))
        assert HISTORY.fullmatch(kinds), kinds
