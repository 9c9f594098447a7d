"""The AWS command line, against a server and a worker as separate processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure_cli.exit_codes import ExitCode
from tests.system.processes import COMMAND_S_MAX, ROOT, Machine, wait_until

PROGRAMS = ROOT / "tests" / "system" / "programs.py"
SECRET = "0123456789abcdef"
CALLBACK = "send-durable-execution-callback"


class Aws:
    """`aws lambda`, signing with an access key."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self._url = f"http://{machine.http_address}"
        self._folder = folder

    def run(
        self, command: str, *arguments: str, secret: str = SECRET
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "AWS_ACCESS_KEY_ID": "OPERATOR",
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "PYTHONWARNINGS": "ignore",
        }
        return subprocess.run(
            [
                *(sys.executable, str(Path(sys.executable).with_name("aws"))),
                *("lambda", command, "--endpoint-url", self._url, "--output", "json", *arguments),
            ],
            env=environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )

    def run_json(self, command: str, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed; return the JSON that it prints."""
        done = self.run(command, *arguments)
        assert done.returncode == 0, done.stderr
        printed: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return printed

    def invoked(self, function: str, *arguments: str) -> tuple[dict[str, Any], str]:
        """Invoke a function; return the printed JSON, and the payload of the answer."""
        answer = self._folder / "answer"
        printed = self.run_json("invoke", "--function-name", function, *arguments, str(answer))
        return printed, answer.read_text()

    def callback_of(self, arn: str) -> str:
        """Return the id of the callback that an execution waits for."""
        found: list[str] = []

        def is_asked() -> bool:
            page = self.run_json("get-durable-execution-history", "--durable-execution-arn", arn)
            found.extend(
                event["CallbackStartedDetails"]["CallbackId"]
                for event in page["Events"]
                if event["EventType"] == "CallbackStarted"
            )
            return bool(found)

        wait_until(is_asked, "the handler asks")
        return found[0]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    folder = tmp_path_factory.mktemp("aws")
    key_file = folder / "keys.toml"
    key_file.write_text(f'[[key]]\nid = "OPERATOR"\nsecret = "{SECRET}"\nactions = ["lambda:*"]\n')
    key_file.chmod(0o600)
    with Machine(folder) as machine:
        machine.start_server("--access-key-file", str(key_file))
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("asking")
        yield Aws(machine, folder)


def test_a_function_is_invoked_and_its_execution_looked_at(aws: Aws) -> None:
    printed, payload = aws.invoked(
        "three_steps:$LATEST", "--payload", "1", "--durable-execution-name", "by-hand"
    )
    assert (printed["StatusCode"], payload) == (200, "4")
    arn = printed["DurableExecutionArn"]
    execution = aws.run_json("get-durable-execution", "--durable-execution-arn", arn)
    assert (execution["Status"], execution["Result"]) == ("SUCCEEDED", "4")
    history = aws.run_json(
        "get-durable-execution-history", "--durable-execution-arn", arn, "--reverse-order"
    )
    assert history["Events"][0]["EventType"] == "ExecutionSucceeded"
    listed = aws.run_json(
        "list-durable-executions-by-function",
        *("--function-name", "three_steps", "--statuses", "SUCCEEDED"),
    )
    assert arn in {each["DurableExecutionArn"] for each in listed["DurableExecutions"]}


def test_a_name_that_it_has_taken_is_found_by_our_command_with_the_same_file(
    aws: Aws, tmp_path: Path
) -> None:
    payload = tmp_path / "payload.json"
    payload.write_bytes(b'{\r\n  "id": "\xc3\xbc"\r\n}\r\n')
    name = ("--durable-execution-name", "by-two-commands", "--invocation-type", "Event")
    started, _ = aws.invoked("asking", "--payload", f"fileb://{payload}", *name)
    arn = started["DurableExecutionArn"]
    ours = ("--name", "by-two-commands", "--detach")
    found = aws.machine.perdure("invoke", "asking", "--payload", f"@{payload}", *ours)
    assert (found.returncode, found.stdout.strip()) == (0, arn)
    # The same JSON without its line ends is the same input.
    payload.write_bytes(payload.read_bytes().replace(b"\r\n", b""))
    found = aws.machine.perdure("invoke", "asking", "--payload", f"@{payload}", *ours)
    assert (found.returncode, found.stdout.strip()) == (0, arn)
    payload.write_bytes(b'{"id": "u"}')
    refused = aws.machine.perdure("invoke", "asking", "--payload", f"@{payload}", *ours)
    assert (refused.returncode, refused.stdout) == (ExitCode.CONFLICT, "")


@pytest.mark.parametrize(
    ("outcome", "arguments", "status"),
    [
        ("success", ("--result", '"yes"'), "SUCCEEDED"),
        ("failure", ("--error", "ErrorType=Refused,ErrorMessage=no"), "FAILED"),
    ],
)
def test_a_callback_is_kept_alive_and_completed(
    aws: Aws, outcome: str, arguments: tuple[str, ...], status: str
) -> None:
    printed, _ = aws.invoked("asking", "--invocation-type", "Event")
    assert printed["StatusCode"] == 202
    arn = printed["DurableExecutionArn"]
    callback_id = ("--callback-id", aws.callback_of(arn))
    aws.run_json(f"{CALLBACK}-heartbeat", *callback_id)
    aws.run_json(f"{CALLBACK}-{outcome}", *callback_id, *arguments)

    def has_ended() -> bool:
        execution = aws.run_json("get-durable-execution", "--durable-execution-arn", arn)
        return bool(execution["Status"] == status)

    wait_until(has_ended, f"the execution is {status}")


def test_an_execution_is_stopped(aws: Aws) -> None:
    printed, _ = aws.invoked("asking", "--invocation-type", "Event")
    arn = ("--durable-execution-arn", printed["DurableExecutionArn"])
    assert aws.run_json("stop-durable-execution", *arn, "--error", "ErrorMessage=enough")[
        "StopTimestamp"
    ]
    assert aws.run_json("get-durable-execution", *arn)["Status"] == "STOPPED"


def test_a_refusal_has_its_own_code(aws: Aws) -> None:
    missing = ("--function-name", "missing")
    refused = aws.run("get-function", *missing)
    assert refused.returncode != 0
    assert "(ResourceNotFoundException)" in refused.stderr
    stranger = aws.run("get-function", *missing, secret="0123456789abcdeF")
    assert stranger.returncode != 0
    assert "(InvalidSignatureException)" in stranger.stderr
