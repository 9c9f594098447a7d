"""The order program: validated, approved, processed with retries, in spite of crashes."""

from typing import Any

import pytest

from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.config import CallbackConfig, Duration, StepConfig
from perdure.retries import RetryStrategyConfig, create_retry_strategy
from perdure.worker_api import Failed, Pending, Succeeded
from tests.sdk.hosted import Crash, Hosted, callback_id

Runs = dict[str, int]


@durable_step
def validate_order(step_context: StepContext, order_id: str) -> dict[str, Any]:
    step_context.logger.info("Validating order: %s", order_id)
    return {"order_id": order_id, "status": "validated"}


@durable_step
def send_for_approval(step_context: StepContext, callback_id: str, order_id: str) -> dict[str, Any]:
    step_context.logger.info("Sending order %s for approval", order_id)
    return {"order_id": order_id, "callback_id": callback_id, "status": "sent_for_approval"}


@durable_step
def process_order(step_context: StepContext, order_id: str, failures: int) -> dict[str, Any]:
    if step_context.attempt <= failures:
        raise Exception("Processing failed")  # noqa: TRY002 - as careless as users are
    return {"order_id": order_id, "status": "processed"}


@durable_execution
def lambda_handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    try:
        order_id = event["order_id"]
        validated = context.step(validate_order(order_id))
        if validated["status"] != "validated":
            raise Exception("Validation failed")  # noqa: TRY002, TRY301
        context.logger.info(f"Order validated: {validated}")  # noqa: G004
        callback = context.create_callback(
            name="awaiting-approval", config=CallbackConfig(timeout=Duration.from_minutes(3))
        )
        context.step(send_for_approval(callback.callback_id, order_id))
        approval_result = callback.result()
        context.logger.info(f"Approval received: {approval_result}")  # noqa: G004
        retry_config = RetryStrategyConfig(max_attempts=3, backoff_rate=2.0)
        return context.step(
            process_order(order_id, event["failures"]),
            config=StepConfig(retry_strategy=create_retry_strategy(retry_config)),
        )
    except Exception as error:
        context.logger.error(f"Error processing order: {error}")  # noqa: G004, TRY400
        raise


PROCESSED = Succeeded('{"order_id": "17", "status": "processed"}')


def order(failures: int, *crashes: Crash) -> Hosted:
    return Hosted(lambda_handler, f'{{"order_id": "17", "failures": {failures}}}', crashes)


def test_an_order_runs_to_its_end_in_the_order_that_the_history_promises() -> None:
    host = order(1)
    assert host.run() == Pending()
    assert callback_id(host.open_callback()) == "callback-2-0"
    host.succeed_callback("yes")
    assert host.finish() == PROCESSED
    assert host.history == [
        "ExecutionStarted",
        "StepStarted",
        "StepSucceeded",
        "CallbackStarted",
        "StepStarted",
        "StepSucceeded",
        "InvocationCompleted",
        "CallbackSucceeded",
        "StepStarted",
        "StepFailed",
        "InvocationCompleted",
        "StepStarted",
        "StepSucceeded",
        "InvocationCompleted",
        "ExecutionSucceeded",
    ]


def test_an_unapproved_order_fails_after_three_minutes() -> None:
    host = order(0)
    host.run()
    began_ms = host.now_ms
    outcome = host.finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.CallbackTimeoutError"
    assert outcome.error.message == "Callback timed out"
    assert host.now_ms - began_ms == 180_000


def test_an_order_whose_retries_are_spent_fails_with_what_the_step_raised() -> None:
    host = order(3)
    host.run()
    host.succeed_callback("yes")
    outcome = host.finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.StepError"
    assert outcome.error.message == "Processing failed"
    assert host.history.count("StepFailed") == 3


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("number", range(1, 9))
def test_an_order_survives_a_crash_at_any_checkpoint(number: int, accepted: bool) -> None:
    host = order(1, Crash(number, accepted))
    while host.run() == Pending() and host.state.callbacks_open:
        host.succeed_callback("yes")
    assert host.finish() == PROCESSED
