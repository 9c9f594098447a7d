"""Status-change events of real servers, in real files: nothing is lost, whatever is killed."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from perdure_history.status_event_delivery import PAGE_MAX
from tests.lambda_api.serving import boto_client
from tests.system.processes import ROOT, Machine, wait_until

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"
PLAIN: Final = ROOT / "tests" / "system" / "plain_program.py"
RUNS: Final = 40


@pytest.fixture
def place(db_url: str, tmp_path: Path) -> Iterator[Machine]:
    """A machine with a database of each kind; nothing runs yet."""
    with Machine(tmp_path, db_url) as machine:
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def events_in(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file; half a line at its end is not written yet."""
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def statuses(path: Path) -> dict[str, list[str]]:
    """Return the statuses of each execution, repetitions of an id left out."""
    by_arn: dict[str, dict[str, str]] = {}
    for event in events_in(path):
        detail = event["detail"]
        by_arn.setdefault(detail["durableExecutionArn"], {})[event["id"]] = detail["status"]
    return {arn: list(of_execution.values()) for arn, of_execution in by_arn.items()}


def test_what_boto3_starts_is_a_line_of_the_file(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    machine.start_server("--status-events", str(path))
    machine.start_worker(PROGRAMS, PLAIN)
    machine.wait_for_worker("three_steps")
    client = boto_client(f"http://{machine.http_address}")
    named = {"FunctionName": "three_steps:$LATEST", "DurableExecutionName": "order-1"}
    arn = client.invoke(**named, Payload=b"1")["DurableExecutionArn"]
    failed = client.invoke(FunctionName="refusing", Payload=b"1")["DurableExecutionArn"]
    asked = client.invoke(FunctionName="asking", InvocationType="Event")["DurableExecutionArn"]
    client.stop_durable_execution(DurableExecutionArn=asked)
    wait_until(lambda: len(events_in(path)) == 6, "all six events are in the file")
    assert statuses(path) == {
        arn: ["RUNNING", "SUCCEEDED"],
        failed: ["RUNNING", "FAILED"],
        asked: ["RUNNING", "STOPPED"],
    }
    # What the file says is what the API says.
    seen = client.get_durable_execution(DurableExecutionArn=arn)
    client.close()
    (event,) = [e for e in events_in(path) if e["detail"]["status"] == "SUCCEEDED"]
    moments = [
        seen[f"{word}Timestamp"].isoformat(timespec="milliseconds") for word in ("Start", "End")
    ]
    assert event["detail"] == {
        "durableExecutionArn": arn,
        "durableExecutionName": "order-1",
        "functionArn": seen["FunctionArn"],
        "status": "SUCCEEDED",
        "startTimestamp": moments[0].replace("+00:00", "Z"),
        "endTimestamp": moments[1].replace("+00:00", "Z"),
    }
    metrics = machine.metrics()
    assert metrics.value("perdure_status_events_told_total") == 6
    wait_until(
        lambda: machine.metrics().value("perdure_status_events_backlog") == 0,
        "nothing waits any more",
    )


def test_kill_9_loses_no_event_and_repeats_only_whole_ids(place: Machine, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    options = ("--status-events", str(path))
    place.start_server(*options)
    place.start_worker(PROGRAMS)
    place.wait_for_worker("three_steps")
    with place.client() as client:
        arns: list[str] = []
        for number in range(RUNS):
            started = client.start("three_steps", number, name=f"run-{number}")
            arns.append(started.execution_arn)
            if number % 10 == 9:
                place.kill("server")
                place.start_server(*options)
        for arn in arns:
            client.result(arn, timeout_s=60)
    expected = {arn: ["RUNNING", "SUCCEEDED"] for arn in arns}
    wait_until(lambda: statuses(path) == expected, "every start and end is in the file")


def test_a_kill_between_the_file_and_the_database_repeats_the_page_and_nothing_else(
    place: Machine, tmp_path: Path
) -> None:
    path, count = tmp_path / "events.jsonl", PAGE_MAX + 1
    module = "tests.system.killed_after_telling"
    killed = subprocess.run(
        [sys.executable, "-m", module, place.db_url, "alpha", str(path), str(count)],
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    page = events_in(path)
    assert len(page) == PAGE_MAX
    # The same node again, as it was.
    place.start_server("--node-name", "alpha", "--status-events", str(path))
    wait_until(lambda: len(events_in(path)) == PAGE_MAX + count, "the rest is in the file")
    events = events_in(path)
    assert events[:PAGE_MAX] == events[PAGE_MAX:-1] == page
    assert len({event["id"] for event in events}) == count
    wait_until(
        lambda: place.metrics().value("perdure_status_events_backlog") == 0,
        "nothing waits any more",
    )


def test_a_server_that_is_stopped_in_trouble_leaves_its_events_to_the_next(
    place: Machine, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "events.jsonl"
    server = place.start_server("--status-events", str(path))
    place.start_worker(PROGRAMS)
    place.wait_for_worker("three_steps")
    path.unlink()
    folder.rmdir()
    with place.client() as client:
        arn = client.start("three_steps", 1).execution_arn
        assert client.result(arn, timeout_s=60) == 4
    trouble = f"cannot append to {path}: the folder {folder} does not exist"
    wait_until(lambda: trouble in server.log_text(), "the log says what is wrong", server)
    metrics = place.metrics()
    assert metrics.value("perdure_status_events_failures_total") >= 1
    assert metrics.value("perdure_status_events_backlog") == 2
    assert place.stop("server") == 0
    folder.mkdir()
    place.start_server("--status-events", str(path))
    wait_until(lambda: path.exists() and len(events_in(path)) == 2, "both events are in the file")
    assert statuses(path) == {arn: ["RUNNING", "SUCCEEDED"]}


def test_a_file_that_cannot_be_written_ends_the_server_at_once(
    machine: Machine, tmp_path: Path
) -> None:
    folder = tmp_path / "missing"
    server = machine.start_server("--status-events", str(folder / "events.jsonl"), ready=False)
    assert machine.wait_for_exit("server") == 2
    assert f"/events.jsonl: the folder {folder} does not exist" in " ".join(
        server.log_text().split()
    )
