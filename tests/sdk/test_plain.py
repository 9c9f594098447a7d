"""Plain functions: called once for an invocation, without durable operations."""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from perdure import PlainContext, PlainFunction, ValidationError, plain_function
from perdure.config import Duration
from perdure.exceptions import InvocationError, NonDeterministicExecutionError, SuspendExecution
from perdure.worker_api import (
    Diverged,
    Errored,
    Failed,
    FunctionSettings,
    HandlerLoop,
    InvocationEnvironment,
    Lost,
    Outcome,
    Succeeded,
    run_invocation,
    run_invocation_async,
)
from perdure_core.model import Operation, OperationStatus, OperationType, StepDetails
from tests.sdk.hosted import Hosted
from tests.sdk.scripted import Scripted, delivery

STEP = Operation(
    id="one",
    type=OperationType.STEP,
    status=OperationStatus.SUCCEEDED,
    started_ms=0,
    details=StepDetails(),
)


@plain_function
def greet(event: Any, context: PlainContext) -> str:
    """Say hello."""
    return f"hello {event['name']} from {context.function_name}"


@plain_function(name="greeter", execution_timeout=Duration.from_hours(1), retention_days=90)
async def greet_later(event: Any, _context: PlainContext) -> str:
    await asyncio.sleep(0)
    return f"hello {event['name']}"


@dataclass
class Order:
    id: str
    amount: int


def outcome_of(body: Callable[[Any, PlainContext], Any], payload: str | None = None) -> Outcome:
    function = PlainFunction(body, FunctionSettings("under-test"))
    return run_invocation(function, InvocationEnvironment(delivery(payload=payload), Scripted()))


def raising(error: BaseException) -> tuple[Any, Any]:
    """Return two handlers that raise `error`, an ordinary one and an async one."""

    def handle(_event: Any, _context: PlainContext) -> None:
        raise error

    async def handle_later(_event: Any, _context: PlainContext) -> None:
        await asyncio.sleep(0)
        raise error

    return handle, handle_later


def test_a_bare_decorator_takes_the_defaults_of_durable_functions() -> None:
    assert isinstance(greet, PlainFunction)
    assert greet.settings == FunctionSettings("greet")
    assert greet.__doc__ == "Say hello."
    assert (greet.durable, greet.is_async) == (False, False)


def test_arguments_of_the_decorator_are_kept() -> None:
    assert greet_later.settings == FunctionSettings("greeter", 3_600, 90)
    assert greet_later.is_async


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "with blank"}, r"1 to 64 characters .*Set it with name=…"),
        (
            {"execution_timeout": Duration(31_622_401)},
            "1 second to 366 days, got 31,622,401 seconds",
        ),
        ({"retention_days": 91}, "retention_days must be 1 to 90"),
    ],
)
def test_settings_outside_the_limits_are_refused(options: dict[str, Any], complaint: str) -> None:
    settings: dict[str, Any] = {"name": "f", **options}
    with pytest.raises(ValidationError, match=complaint):
        plain_function(**settings)(lambda _event, _context: None)


@pytest.mark.parametrize("function", [greet, greet_later])
def test_it_ends_with_what_its_handler_returns_and_checkpoints_nothing(
    function: PlainFunction,
) -> None:
    host = Hosted(function, payload='{"name": "you"}')
    outcome = host.finish()
    assert isinstance(outcome, Succeeded)
    assert (outcome.result or "").startswith('"hello you')
    assert host.calls == []
    assert host.history == ["ExecutionStarted", "InvocationCompleted", "ExecutionSucceeded"]


def test_it_may_be_called_like_the_function_that_it_was() -> None:
    context = PlainContext(
        execution_arn="arn", function_name="greet", logger=logging.getLogger("test")
    )
    assert greet({"name": "you"}, context) == "hello you from greet"


def test_event_and_result_are_what_the_annotations_say() -> None:
    def double(event: Order, _context: PlainContext) -> Order:
        return Order(event.id, 2 * event.amount)

    outcome = outcome_of(double, '{"id": "17", "amount": 4}')
    assert outcome == Succeeded('{"id": "17", "amount": 8}')
    refused = outcome_of(double, '{"id": "17"}')
    assert isinstance(refused, Failed)
    assert "'under-test' does not match its annotation" in (refused.error.message or "")


def test_a_result_that_is_not_json_or_too_large_fails_the_execution() -> None:
    no_json = outcome_of(lambda _event, _context: object())
    assert isinstance(no_json, Failed)
    assert "is not JSON" in (no_json.error.message or "")
    large = outcome_of(lambda _event, _context: "x" * 67_108_864)
    assert isinstance(large, Failed)
    assert "must be at most 67,108,864 bytes" in (large.error.message or "")


def test_what_it_raises_is_recorded_as_that_of_other_handlers() -> None:
    for handle in raising(ValueError("no stock")):
        outcome = outcome_of(handle)
        assert isinstance(outcome, Failed)
        assert (outcome.error.type, outcome.error.message) == ("ValueError", "no stock")
        assert "test_plain.py" in "".join(outcome.error.stack_trace)


def test_what_breaks_the_invocation_lets_it_run_again() -> None:
    for handle in raising(InvocationError("away")):
        assert isinstance(outcome_of(handle), Errored)


def test_what_exits_fails_its_execution() -> None:
    for handle in raising(SystemExit(3)):
        outcome = outcome_of(handle)
        assert isinstance(outcome, Failed)
        assert outcome.error.type == "SystemExit"


@pytest.mark.parametrize(
    "error", [SuspendExecution("wait"), NonDeterministicExecutionError("other")]
)
def test_it_can_neither_wait_nor_differ_from_a_record(error: BaseException) -> None:
    for handle in raising(error):
        assert isinstance(outcome_of(handle), Failed)


def test_its_context_says_which_execution_it_is_and_how_long_it_may_take() -> None:
    seen: list[PlainContext] = []
    left_s: list[float] = []

    def look(_event: Any, context: PlainContext) -> None:
        seen.append(context)
        left_s.append(context.remaining_s)

    invocation = msgspec.structs.replace(delivery(), deadline_ms=90_000, tenant_id="blue")
    function = PlainFunction(look, FunctionSettings("under-test"))
    for now_ms in (lambda: 30_000, lambda: 91_000):
        run_invocation(function, InvocationEnvironment(invocation, Scripted(), now_ms=now_ms))
    context = seen[0]
    assert (context.execution_arn, context.function_name) == ("arn", "under-test")
    assert context.tenant_id == "blue"
    assert context.deadline == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=90)
    assert left_s == [60.0, 0.0]


def test_an_execution_without_a_deadline_has_endless_time() -> None:
    left_s: list[float] = []
    outcome_of(lambda _event, context: left_s.append(context.remaining_s))
    assert left_s == [float("inf")]


def test_its_log_records_name_the_execution(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        outcome_of(lambda _event, context: context.logger.info("looking"))
    assert [vars(record)["executionArn"] for record in caplog.records] == ["arn"]


@pytest.mark.parametrize("function", [greet, greet_later])
def test_an_execution_of_a_durable_function_of_that_name_is_not_run_by_a_plain_one(
    function: PlainFunction,
) -> None:
    outcome = run_invocation(function, InvocationEnvironment(delivery(STEP), Scripted()))
    assert isinstance(outcome, Diverged)
    assert "is a plain function here" in (outcome.error.message or "")
    assert "1 are recorded" in (outcome.error.message or "")


def test_an_async_one_whose_turn_has_passed_is_cancelled_with_all_that_it_started() -> None:
    cleaned: list[str] = []

    async def linger(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(name)

    async def handle(_event: Any, _context: PlainContext) -> None:
        task = asyncio.create_task(linger("task"))
        await asyncio.sleep(0)
        entered.set()
        await linger("handler")
        await task

    async def scenario() -> Outcome:
        function = PlainFunction(handle, FunctionSettings("under-test"))
        running = asyncio.create_task(
            run_invocation_async(function, InvocationEnvironment(delivery(), Scripted()))
        )
        await entered.wait()
        running.cancel()
        return await running

    entered = asyncio.Event()
    with asyncio.Runner(loop_factory=HandlerLoop) as runner:
        assert runner.run(scenario()) == Lost()
    assert sorted(cleaned) == ["handler", "task"]


def test_an_ordinary_one_runs_on_the_thread_that_it_was_called_on() -> None:
    threads: list[str] = []
    outcome_of(lambda _event, _context: threads.append(threading.current_thread().name))
    assert threads == [threading.current_thread().name]
