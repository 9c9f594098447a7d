"""boto3 against a server and a worker as separate processes, with the database in a file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lambda_api.serving import boto_client
from tests.system.processes import ROOT, Credentials, Machine, wait_until

PROGRAMS = ROOT / "tests" / "system" / "programs.py"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as fresh:
        yield fresh
        print(fresh.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


@pytest.fixture
def client(machine: Machine) -> Iterator[Any]:
    """Return a boto3 client of a server with a worker that serves the programs."""
    machine.start_server()
    machine.start_worker(PROGRAMS)
    machine.wait_for_worker("three_steps")
    aws = boto_client(f"http://{machine.http_address}")
    yield aws
    aws.close()


def test_a_handler_runs_for_a_client_of_aws(client: Any) -> None:
    answer = client.invoke(FunctionName="three_steps", Payload=b"1")
    assert answer["Payload"].read() == b"4"
    arn = answer["DurableExecutionArn"]
    pages = client.get_paginator("get_durable_execution_history").paginate(DurableExecutionArn=arn)
    kinds = [event["EventType"] for page in pages for event in page["Events"]]
    assert kinds == [
        "ExecutionStarted",
        *["StepStarted", "StepSucceeded"] * 3,
        "InvocationCompleted",
        "ExecutionSucceeded",
    ]


def test_a_synchronous_call_lasts_through_a_wait(client: Any) -> None:
    answer = client.invoke(FunctionName="sleeper", Payload=b'{"seconds": 1}')
    assert answer["Payload"].read() == b'"awake"'


def test_what_a_handler_raises_is_the_body_of_the_answer(client: Any) -> None:
    answer = client.invoke(FunctionName="refusing", Payload=b'"today"')
    assert answer["FunctionError"] == "Unhandled"
    error = json.loads(answer["Payload"].read())
    assert (error["errorMessage"], error["errorType"]) == ("not today", "ValueError")


def test_a_callback_is_found_in_the_history_and_completed(client: Any) -> None:
    arn = client.invoke(FunctionName="asking", InvocationType="Event")["DurableExecutionArn"]
    found: list[str] = []

    def is_asked() -> bool:
        events = client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        found.extend(
            event["CallbackStartedDetails"]["CallbackId"]
            for event in events
            if event["EventType"] == "CallbackStarted"
        )
        return bool(found)

    wait_until(is_asked, "the handler asks")
    client.send_durable_execution_callback_success(CallbackId=found[0], Result=b"yes")
    name = arn.split("/")[-2]
    again = client.invoke(FunctionName="asking", DurableExecutionName=name)
    assert (again["DurableExecutionArn"], again["Payload"].read()) == (arn, b'"yes"')


def test_executions_outlive_the_server(machine: Machine, client: Any) -> None:
    named = {"FunctionName": "three_steps", "DurableExecutionName": "once", "Payload": b"1"}
    arn = client.invoke(**named)["DurableExecutionArn"]
    machine.kill("server")
    machine.start_server()
    again = client.invoke(**named)
    assert (again["DurableExecutionArn"], again["Payload"].read()) == (arn, b"4")


def test_a_token_file_keeps_signatures_out(tmp_path: Path) -> None:
    token_file = tmp_path / "tokens"
    token_file.write_text("secret\n")
    secured = Credentials(token_file=token_file)
    with Machine(tmp_path, secured=secured, known=secured) as machine:
        machine.start_server()
        client = boto_client(f"http://{machine.http_address}")
        with pytest.raises(client.exceptions.ClientError, match="AccessDeniedException"):
            client.list_functions()
        answer = machine.http("/2015-03-31/functions")
        assert (answer.status_code, answer.json()) == (200, {"Functions": []})
