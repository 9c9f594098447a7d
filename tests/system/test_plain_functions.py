"""Plain functions on a real server: started, invoked, lost with their worker, and run again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client
from tests.lambda_api.serving import boto_client
from tests.system.ledger import LEDGER_VARIABLE, Reader
from tests.system.processes import ROOT, Machine, wait_until

PROGRAM = ROOT / "tests" / "system" / "plain_program.py"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that serves the program of plain and durable functions."""
    with Machine(tmp_path, environment={LEDGER_VARIABLE: str(tmp_path / "ledger")}) as machine:
        machine.start_server()
        machine.start_worker(PROGRAM)
        machine.wait_for_worker("price")
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def kinds(client: Client, arn: str) -> list[str]:
    return [event.event_type for event in client.history(arn)]


def test_a_plain_function_is_started_like_any_other_and_records_its_end_alone(
    machine: Machine,
) -> None:
    with machine.client() as client:
        arn = client.start("price", {"item": "lamp"}, name="p-1").execution_arn
        assert client.wait(arn, timeout_s=30).result == {"item": "lamp", "price": 4}
        assert kinds(client, arn) == [
            "ExecutionStarted",
            "InvocationCompleted",
            "ExecutionSucceeded",
        ]
        listed = {each.function_name: each.durable for each in client.list_functions()}
    assert (listed["price"], listed["order"]) == (False, True)
    invoked = machine.perdure("invoke", "price-later", "--payload", '{"item": "chair"}')
    assert (invoked.returncode, json.loads(invoked.stdout)) == (0, 5)


def test_durable_functions_invoke_plain_ones_and_durable_ones(machine: Machine) -> None:
    with machine.client() as client:
        arn = client.start("order", ["lamp", "chair"]).execution_arn
        assert client.wait(arn, timeout_s=30).result == {
            "prices": [4, 5],
            "refused": "ValueError: no price",
            "packed": "packed 2",
            "tenant": "blue",
        }


def test_a_plain_function_whose_worker_is_lost_runs_again_from_its_first_line(
    machine: Machine, tmp_path: Path
) -> None:
    ledger, release = Reader(tmp_path / "ledger"), tmp_path / "release"
    with machine.client() as client:
        arn = client.start("held", str(release)).execution_arn
        wait_until(lambda: bool(ledger.new()), "it has entered")
        machine.kill("worker")
        release.touch()
        machine.start_worker(PROGRAM)
        assert client.wait(arn, timeout_s=60).result == "released"
        assert len(ledger.new()) == 1
        assert kinds(client, arn) == [
            "ExecutionStarted",
            "InvocationCompleted",
            "InvocationCompleted",
            "ExecutionSucceeded",
        ]


def test_clients_of_aws_invoke_a_plain_function_without_a_name(machine: Machine) -> None:
    aws: Any = boto_client(f"http://{machine.http_address}")
    configurations = {
        name: aws.get_function_configuration(FunctionName=name) for name in ("price", "order")
    }
    assert "DurableConfig" not in configurations["price"]
    assert "DurableConfig" in configurations["order"]
    for named in ({"FunctionName": "price"}, {"FunctionName": "price", "Qualifier": "$LATEST"}):
        answer = aws.invoke(Payload=b'{"item": "lamp"}', **named)
        assert json.loads(answer["Payload"].read()) == {"item": "lamp", "price": 4}
    failed = aws.invoke(FunctionName="price", Payload=b'{"item": ""}')
    assert failed["FunctionError"] == "Unhandled"
    error = json.loads(failed["Payload"].read())
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no price")
    sent = aws.invoke(FunctionName="price", InvocationType="Event", Payload=b'{"item": "lamp"}')
    assert sent["StatusCode"] == 202
    aws.close()
