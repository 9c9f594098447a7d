"""A database that an earlier commit left behind, half done, opens, goes on, and comes to its ends.

The databases hold every kind of event, and every state in which something can be when server and
worker are killed; `earlier/make.py` says how they were made. Real processes open them, by a clock
that says that two hours have passed.
"""

import gzip
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import grpc
import msgspec
import psycopg
import pytest

from perdure.client import Client, WaitTimeoutError
from perdure_core.decision import Delivery
from perdure_core.events import (
    ContextFailed,
    Event,
    ExecutionFailed,
    Record,
    StepFailed,
    decode_record,
)
from perdure_core.fold import fold
from perdure_core.model import ExecutionStatus, OperationStatus, OperationType
from perdure_core.operations import callback, chained_invoke, context, step, wait
from perdure_core.state import Dispatch, is_open
from perdure_proto.v1 import worker_pb2, worker_pb2_grpc
from tests.postgres import PostgresServer
from tests.system.earlier.ends import ENDS
from tests.system.processes import ROOT, Machine, wait_until

FOLDER: Final = ROOT / "tests" / "system" / "earlier"
MODULES: Final = [FOLDER / f"{name}.py" for name in ("functions", "values", "failures")]
AT_MOMENT: Final = "tests.system.earlier.at_moment"
LATER_MS: Final = 2 * 3_600_000
END_S_MAX: Final = 60.0

MACHINES: Final[dict[OperationType, Mapping[Any, OperationStatus]]] = {
    OperationType.CALLBACK: callback.EDGES,
    OperationType.CHAINED_INVOKE: chained_invoke.EDGES,
    OperationType.CONTEXT: context.EDGES,
    OperationType.STEP: step.EDGES,
    OperationType.WAIT: wait.EDGES,
}
SUB_TYPES: Final = {
    *("Step", "Now", "WaitForCondition", "Wait", "Callback", "ChainedInvoke", "WaitForCallback"),
    *("RunInChildContext", "Map", "MapIteration", "Parallel", "ParallelBranch"),
    *("Race", "RaceBranch", "AnyOf", "AnyOfBranch", "AllOf", "AllOfBranch"),
}
# What a replay makes errors of again, or tells user code by.
ERROR_NAMES: Final = {
    *("perdure.composition.AnyOfError", "perdure.batch_result.BatchCompletionError"),
    *("perdure.client_errors.NotFoundError", "failures.SoldOutError", "ValueError"),
    "perdure.exceptions.CallbackExternalError",
    "perdure.exceptions.CallbackSubmitterError",
    "perdure.exceptions.CallbackTimeoutError",
    "perdure.exceptions.ChildContextError",
    "perdure.exceptions.InvokeError",
    "perdure.exceptions.SerDesError",
    "perdure.exceptions.StepError",
    "perdure.exceptions.StepTimeoutError",
    "perdure.exceptions.WaitCancelledError",
    "perdure.exceptions.WaitForConditionError",
}


class Left(NamedTuple):
    """A database that was left behind, and what outsiders know of it."""

    url: str
    recorded: dict[str, Any]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database while no server has it."""
        kind, _, place = self.url.partition("://")
        if kind == "sqlite":
            with closing(sqlite3.connect(place.removeprefix("/"))) as connection:
                return connection.execute(query).fetchall()
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def histories(self) -> Iterator[list[Record]]:
        """Return the records of each execution."""
        query = "SELECT execution_id, body FROM events ORDER BY bucket, execution_id, sequence"
        for _, rows in groupby(self.rows(query), lambda row: row[0]):
            yield [decode_record(bytes(body)) for _, body in rows]


@pytest.fixture(params=["sqlite", "postgresql"])
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    """A copy of the database of each kind."""
    recorded = json.loads((FOLDER / "recorded.json").read_text(encoding="utf-8"))[request.param]
    if request.param == "sqlite":
        file = tmp_path / "perdure.db"
        file.write_bytes(gzip.decompress((FOLDER / "sqlite.db.gz").read_bytes()))
        return Left(f"sqlite:///{file}", recorded)
    postgres: PostgresServer = request.getfixturevalue("postgres")
    url = postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(gzip.decompress((FOLDER / "postgresql.sql.gz").read_bytes()))
    return Left(url, recorded)


def test_what_was_left_holds_every_event_and_every_state(left: Left) -> None:
    histories = list(left.histories())
    states = [fold(records) for records in histories]
    events = {type(event) for records in histories for record in records for event in record.events}
    assert events == set(get_args(Event))
    operations = [each for state in states for each in state.operations.values()]
    assert {(each.type, each.status) for each in operations} == {
        (kind, status) for kind, edges in MACHINES.items() for status in edges.values()
    }
    assert {each.sub_type for each in operations} == SUB_TYPES
    assert {state.status for state in states} == set(ExecutionStatus)
    assert {state.dispatch for state in states if is_open(state)} == set(Dispatch)


def test_what_was_left_names_every_error_that_is_made_again(left: Left) -> None:
    failures = [
        event.error.type
        for records in left.histories()
        for record in records
        for event in record.events
        if isinstance(event, StepFailed | ContextFailed | ExecutionFailed)
    ]
    assert set(failures) >= ERROR_NAMES


def test_what_was_left_has_something_in_every_table(left: Left) -> None:
    decoder: msgspec.msgpack.Decoder[Delivery] = msgspec.msgpack.Decoder(Delivery)
    deliveries = {type(decoder.decode(body)) for (body,) in left.rows("SELECT body FROM outbox")}
    assert deliveries == set(get_args(Delivery))
    tables = ("buckets", "cluster", "functions", "nodes", "payloads", "status_events", "timers")
    assert [table for table in tables if not left.rows(f"SELECT 1 FROM {table}")] == []


def test_everything_that_was_begun_comes_to_its_end(left: Left, tmp_path: Path) -> None:
    arns, statuses = left.recorded["arns"], tmp_path / "statuses"
    by_ms = left.recorded["made_ms"] + LATER_MS - time.time_ns() // 1_000_000
    with Machine(tmp_path, left.url, command=(AT_MOMENT, str(by_ms))) as machine:
        try:
            options = ("--migrate", "--node-name", "later", "--status-events", str(statuses))
            machine.start_server(*options, ready=False)
            machine.start_worker(*MODULES, slots=500)
            machine.wait_until_serving()
            claim(machine, left.recorded["claimed"])
            with machine.client() as client:
                complete_callbacks(client, left.recorded["callbacks"])
                for name in ("is_paused", "is_pausing", "recovers", "diverges"):
                    client.resume(arns[name])
                by_s = time.monotonic() + END_S_MAX
                ends = {name: end_of(client, arns[name], by_s) for name in ENDS}
            wait_until(
                lambda: started_in(statuses) >= set(arns.values()), "all starts are delivered"
            )
            broken = machine.metrics().value("perdure_invariant_violations_total")
        finally:
            print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure
    assert {name: end for name, end in ends.items() if end != ENDS[name]} == {}
    assert set(arns) == {*ENDS, "is_deleted"}
    assert broken == 0
    assert left.rows("SELECT * FROM outbox") == []


def claim(machine: Machine, token: str) -> None:
    """End what a worker of the earlier commit runs still, by the token that it was given."""
    with grpc.insecure_channel(machine.server_address) as channel:
        worker = worker_pb2_grpc.WorkerServiceStub(channel)
        definition = worker_pb2.FunctionDefinition(function_name="is_claimed", durable=True)
        answer = worker.Register(
            worker_pb2.RegisterRequest(
                worker_id="polling", functions=[definition], slots=1, claims=[token]
            )
        )
        assert list(answer.refused_claims) == []
        result = json.dumps("claimed")
        worker.Complete(
            worker_pb2.CompleteRequest(checkpoint_token=token, status="SUCCEEDED", result=result)
        )


def complete_callbacks(client: Client, callbacks: dict[str, str]) -> None:
    """Complete what is open by the ids that were given out."""
    for name, callback_id in callbacks.items():
        match name:
            case "hears/denied":
                client.fail_callback(callback_id, error_type="Denial", error_message="no")
            case "hears/late" | "hears/silent":
                pass
            case _:
                client.succeed_callback(callback_id, {"told": name})


def end_of(client: Client, arn: str, by_s: float) -> Any:
    """Wait for the end; return the result, or as what else it ended, or why it does not end."""
    try:
        execution = client.wait(arn, timeout_s=max(by_s - time.monotonic(), 0.1))
    except WaitTimeoutError:
        execution = client.get(arn)
        reason = execution.pause and execution.pause.reason
        return [execution.status, execution.waiting_for, reason]
    if execution.status == "SUCCEEDED":
        return execution.result
    return [execution.status, execution.error and execution.error.error_type]


def started_in(statuses: Path) -> set[str]:
    """Return the executions whose start was delivered."""
    events = [json.loads(line) for line in statuses.read_text(encoding="utf-8").splitlines()]
    details = [event["detail"] for event in events]
    return {each["durableExecutionArn"] for each in details if each["status"] == "RUNNING"}
