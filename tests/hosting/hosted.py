"""A worker that hosts Lambda handlers beside a real server, and boto3 to call them with."""

import json
from pathlib import Path
from typing import Any, Final

from tests.lambda_api.serving import boto_client
from tests.system.processes import Machine, wait_until

CALL_S_MAX: Final = 90
WORKER: Final = "worker"


class HostedMachine:
    """The machine, and short methods for the calls that tests make."""

    def __init__(self, machine: Machine, functions: Path, *options: str) -> None:
        self.machine = machine
        self._functions = functions
        self._options = options
        self.client = boto_client(f"http://{machine.http_address}", read_timeout=CALL_S_MAX)
        self.start_worker()

    def start_worker(self) -> None:
        """Start the worker; return once it serves."""
        machine = self.machine
        source = "--functions" if self._functions.suffix == ".toml" else "--sam"
        arguments = ["--server", machine.server_address, "--log-format", "json", "--slots", "8"]
        endpoint = ["--lambda-endpoint", f"http://{machine.http_address}"]
        running = machine.start(
            WORKER, "worker", source, str(self._functions), *arguments, *endpoint, *self._options
        )

        self.worker_pid = running.pid

        def is_attached() -> bool:
            running.check()
            with machine.client() as client:
                return any(each.workers_connected for each in client.list_functions())

        wait_until(is_attached, "a worker hosts functions", running)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def invoke(self, function: str, event: object = None, **more: Any) -> "Invoked":
        """Invoke a function by boto3, and wait for its end."""
        return Invoked(self, self.answer(function, event, **more))

    def start(self, function: str, event: object = None, **more: Any) -> str:
        """Start an execution by boto3; return its ARN."""
        answer = self.answer(function, event, InvocationType="Event", **more)
        arn: str = answer["DurableExecutionArn"]
        return arn

    def answer(self, function: str, event: object = None, **more: Any) -> dict[str, Any]:
        """Call Invoke by boto3; return its raw answer."""
        payload = json.dumps(event).encode()
        answer: dict[str, Any] = self.client.invoke(FunctionName=function, Payload=payload, **more)
        return answer

    def events(self, arn: str) -> list[dict[str, Any]]:
        """Return the history of an execution."""
        pages = self.client.get_paginator("get_durable_execution_history").paginate(
            DurableExecutionArn=arn
        )
        return [event for page in pages for event in page["Events"]]

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines of the worker's log."""
        text = (self.machine.folder / f"{WORKER}.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


class Invoked:
    """The result of a synchronous call."""

    def __init__(self, hosted: HostedMachine, answer: dict[str, Any]) -> None:
        self._hosted = hosted
        self.arn: str = answer["DurableExecutionArn"]
        self.function_error: str | None = answer.get("FunctionError")
        self.result: Any = json.loads(answer["Payload"].read())

    def kinds(self) -> list[str]:
        """Return the types of its events."""
        return [event["EventType"] for event in self._hosted.events(self.arn)]

    def broken(self) -> list[dict[str, Any]]:
        """Return the errors of its broken invocations."""
        ends = [
            event["InvocationCompletedDetails"]
            for event in self._hosted.events(self.arn)
            if event["EventType"] == "InvocationCompleted"
        ]
        return [end["Error"]["Payload"] for end in ends if "Error" in end]
