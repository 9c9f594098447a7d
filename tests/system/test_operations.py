"""Operations on executions by operators and programs, through the command and both clients."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from perdure.client import (
    AlreadyExistsError,
    AsyncClient,
    Client,
    ExecutionFailedError,
    FailedPreconditionError,
    NotFoundError,
    WaitTimeoutError,
)
from tests.system.ledger import LEDGER_VARIABLE, Reader
from tests.system.processes import ROOT, Machine, raised, wait_until

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"
END_S_MAX: Final = 60.0


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that serves the small functions."""
    with Machine(tmp_path, environment={LEDGER_VARIABLE: str(tmp_path / "ledger")}) as machine:
        machine.start_server()
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("nothing")
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def ask(client: Client, **options: Any) -> tuple[str, str]:
    """Start an execution with a callback; return its ARN and the callback id."""
    arn = client.start("asking", **options).execution_arn
    wait_until(lambda: client.get(arn).waiting_for == "callback", "it asks")
    (callback,) = client.get(arn).open_callbacks
    return arn, callback.callback_id


def kinds(client: Client, arn: str) -> list[str]:
    """Return the types of an execution's events."""
    return [event.event_type for event in client.history(arn)]


def test_an_execution_is_stopped_and_deleted_by_command(machine: Machine) -> None:
    with machine.client() as client:
        arn, callback_id = ask(client)
        early = machine.perdure("executions", "delete", arn)
        assert (early.returncode, early.stdout) == (4, "")
        why = ("--error-type", "Tired", "--error-message", "enough of it")
        stopped = machine.perdure("executions", "stop", arn, *why, "--output", "json")
        assert (stopped.returncode, list(json.loads(stopped.stdout))) == (0, ["stop_timestamp"])
        execution = client.get(arn)
        assert execution.status == "STOPPED"
        assert execution.error is not None
        assert (execution.error.error_type, execution.error.error_message) == (why[1], why[3])
        again = machine.perdure("executions", "stop", arn, "--output", "json")
        assert json.loads(again.stdout) == json.loads(stopped.stdout)
        assert again.returncode == 4
        assert "error: the execution had ended already, STOPPED at " in again.stderr
        assert raised(lambda: client.succeed_callback(callback_id, 1)) is FailedPreconditionError
        assert kinds(client, arn)[-1] == "ExecutionStopped"
        assert machine.perdure("executions", "delete", arn).returncode == 0
        wait_until(lambda: raised(lambda: client.get(arn)) is NotFoundError, "it is forgotten")
    assert machine.perdure("executions", "get", arn).returncode == 3


def test_a_body_sees_at_once_that_its_execution_was_stopped(
    machine: Machine, tmp_path: Path
) -> None:
    ledger = Reader(tmp_path / "ledger")
    seen: list[str] = []

    def has_written(what: str) -> bool:
        seen.extend(entry.what for entry in ledger.new())
        return what in seen

    with machine.client() as client:
        arn = client.start("patient", "7").execution_arn
        wait_until(lambda: has_written("begins"), "the body begins")
        assert machine.perdure("executions", "stop", arn).returncode == 0
        wait_until(lambda: has_written("is cancelled"), "the body sees it")
        assert client.get(arn).status == "STOPPED"
        assert "ExecutionStopped" in kinds(client, arn)
        # The worker goes on with what comes next.
        assert client.run("three_steps", 1) == 4
    assert seen == ["begins", "is cancelled"]


def test_an_execution_is_paused_and_resumed_by_command(machine: Machine) -> None:
    with machine.client() as client:
        arn, callback_id = ask(client)
        paused = machine.perdure(
            "executions", "pause", arn, "--reason", "lunch", "--output", "json"
        )
        assert json.loads(paused.stdout) == {"status": "PAUSED"}
        client.succeed_callback(callback_id, result_text="yes")
        execution = client.get(arn)
        assert (execution.status, execution.waiting_for) == ("PAUSED", "pause")
        assert execution.pause is not None
        assert execution.pause.reason == "lunch"
        resumed = machine.perdure("executions", "resume", arn, "--output", "json")
        assert json.loads(resumed.stdout) == {"status": "RUNNING"}
        assert client.result(arn, timeout_s=END_S_MAX) == "yes"
        assert kinds(client, arn)[-5:] == [
            "ExecutionPaused",
            "CallbackSucceeded",
            "ExecutionResumed",
            "InvocationCompleted",
            "ExecutionSucceeded",
        ]


def test_a_callback_is_failed_and_kept_alive_by_command(machine: Machine) -> None:
    with machine.client() as client:
        arn, callback_id = ask(client)
        assert machine.perdure("callbacks", "heartbeat", callback_id).returncode == 0
        why = ("--error-type", "Refused", "--error-message", "no")
        assert machine.perdure("callbacks", "fail", callback_id, *why).returncode == 0
        assert raised(lambda: client.result(arn, timeout_s=END_S_MAX)) is ExecutionFailedError
        error = client.get(arn).error
        assert error is not None
        assert error.error_message == "no"


def test_invoke_prints_the_result_alone_and_fails_when_the_execution_does(
    machine: Machine,
) -> None:
    done = machine.perdure("invoke", "three_steps", "--payload", "39")
    assert (done.returncode, done.stdout) == (0, "42\n")
    failed = machine.perdure("invoke", "refusing", "--payload", '"today"')
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "ValueError: not today" in failed.stderr
    unknown = machine.perdure("invoke", "no_such_function")
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert "no_such_function" in unknown.stderr
    assert "Traceback" not in failed.stderr.partition("refusing")[0] + unknown.stderr


def test_the_synchronous_client_does_all_of_it(machine: Machine) -> None:
    with machine.client() as client:
        assert client.run("three_steps", 1, name="sum") == 4
        assert client.run("three_steps", 1, name="sum") == 4
        assert raised(lambda: client.start("three_steps", 2, name="sum")) is AlreadyExistsError
        assert raised(lambda: client.run("refusing", "it")) is ExecutionFailedError
        arn, callback_id = ask(client, name="question")
        assert raised(lambda: client.result(arn, timeout_s=0.2)) is WaitTimeoutError
        client.succeed_callback(callback_id, {"deep": ["thought", 42]})
        assert json.loads(client.result(arn, timeout_s=END_S_MAX)) == {"deep": ["thought", 42]}
        followed = [event.event_type for event in client.follow(arn)]
        assert followed == kinds(client, arn)
        found = client.list_executions(statuses=["SUCCEEDED"], oldest_first=True, page_items=1)
        assert [each.execution_name for each in found] == ["sum", "question"]
        functions = {each.function_name: each.workers_connected for each in client.list_functions()}
        assert functions["three_steps"] == 1


def test_the_asynchronous_client_does_all_of_it(machine: Machine) -> None:
    async def play(client: AsyncClient) -> None:
        sums = await asyncio.gather(*(client.run("three_steps", each) for each in range(20)))
        assert sums == [each + 3 for each in range(20)]
        arn = (await client.start("asking")).execution_arn
        kinds: list[str] = []
        async for event in client.follow(arn):
            kinds.append(event.event_type)
            if event.callback_id is not None:
                await client.succeed_callback(event.callback_id, result_text="yes")
        assert kinds[0] == "ExecutionStarted"
        assert kinds[-1] == "ExecutionSucceeded"
        assert await client.result(arn) == "yes"
        stopped = (await client.start("sleeper", {"seconds": 1_000})).execution_arn
        await client.stop(stopped)
        assert (await client.get(stopped)).status == "STOPPED"
        assert len([each async for each in client.list_executions()]) == 22

    async def open_and_play() -> None:
        async with machine.async_client() as client:
            await play(client)

    asyncio.run(open_and_play())


def test_a_step_that_is_recorded_never_runs_again(machine: Machine) -> None:
    with machine.client() as client:
        arn = client.start("counted", "once").execution_arn
        wait_until(lambda: client.get(arn).waiting_for == "callback", "it asks")
        (callback,) = client.get(arn).open_callbacks
        machine.kill("worker")
        machine.kill("server")
        machine.start_server()
        machine.start_worker(PROGRAMS)
        client.succeed_callback(callback.callback_id, result_text="yes")
        assert client.result(arn, timeout_s=END_S_MAX) == "yes"
    (entry,) = Reader(machine.folder / "ledger").new()
    assert (entry.order, entry.attempt) == ("once", 1)


def test_steps_may_fork(machine: Machine) -> None:
    async def run_together() -> list[list[int]]:
        async with machine.async_client() as client:
            runs = (client.run("forking", 20) for _ in range(10))
            statuses: list[list[int]] = await asyncio.gather(*runs)
            return statuses

    assert asyncio.run(run_together()) == [[0] * 20] * 10


@pytest.mark.parametrize("name", ["server", "worker"])
def test_a_process_that_is_asked_to_end_does_so_with_0(machine: Machine, name: str) -> None:
    with machine.client() as client:
        ask(client)
    assert machine.stop(name) == 0


def test_metrics_have_the_promised_names(machine: Machine) -> None:
    with machine.client() as client:
        client.run("three_steps", 1)
        assert raised(lambda: client.run("refusing", "it")) is ExecutionFailedError
        arn = client.start("sleeper", {"seconds": 1}).execution_arn
        assert client.result(arn, timeout_s=END_S_MAX) == "awake"
        ask(client)
    metrics = machine.metrics()
    promised = {
        *("perdure_executions_started_total", "perdure_executions_ended_total"),
        *("perdure_executions_running", "perdure_steps_total", "perdure_step_retries_total"),
        *("perdure_invocations_total", "perdure_replayed_operations_total"),
        *("perdure_checkpoint_seconds_count", "perdure_commit_changes_count"),
        *("perdure_commits_total", "perdure_commit_seconds_count"),
        *("perdure_schedule_to_start_seconds_count", "perdure_queue_depth"),
        *("perdure_queue_oldest_age_seconds", "perdure_timer_lateness_seconds_count"),
        *("perdure_sync_matches_total", "perdure_slots", "perdure_slots_in_use"),
        *("perdure_fenced_commits_total", "perdure_workers_connected"),
    }
    assert promised - metrics.names == set()
    assert metrics.value("perdure_executions_started_total", function="three_steps") == 1
    ended = "perdure_executions_ended_total"
    assert metrics.value(ended, function="three_steps", status="SUCCEEDED") == 1
    assert metrics.value(ended, function="refusing", status="FAILED") == 1
    assert metrics.value("perdure_executions_running", function="asking") == 1
    assert metrics.value("perdure_steps_total", outcome="succeeded") == 3
    assert metrics.value("perdure_timer_lateness_seconds_count") == 1
    assert metrics.value("perdure_invocations_total", outcome="succeeded") == 2
    assert metrics.value("perdure_invocations_total", outcome="failed") == 1
    assert metrics.value("perdure_replayed_operations_total") >= 1
    assert metrics.value("perdure_workers_connected") == 1
    assert metrics.value("perdure_slots") == 100
    assert metrics.value("perdure_invariant_violations_total") == 0
