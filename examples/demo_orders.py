"""Order program of the demonstration, which must end the same way every time.

It differs from `order_processing.py` in three ways: the flaky API fails at the first attempt and
never again, retries come soon, and processing can be held up until a process is killed. Each
attempt writes a line to a ledger outside Perdure, so that what really ran can be compared with what
Perdure recorded.
"""

import os
import time
from pathlib import Path
from typing import Any

from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.config import CallbackConfig, Duration, StepConfig
from perdure.retries import RetryPresets

LEDGER = Path(os.environ.get("PERDURE_DEMO_LEDGER", "demo-ledger.txt"))
HELD = LEDGER.with_suffix(".held")  # names an attempt that runs for as long as the file says so
PROCESSING_S = 1.5
POLL_S = 0.05


class ApiDownError(Exception):
    """The shop's payment API does not answer."""


@durable_step
def validate_order(step_context: StepContext, order_id: str) -> dict[str, Any]:
    """Check that the order is complete."""
    step_context.logger.info("validating order %s", order_id)
    return {"order_id": order_id, "status": "validated"}


@durable_step
def send_for_approval(step_context: StepContext, callback_id: str, order_id: str) -> dict[str, Any]:
    """Send the order to a person, who answers through the callback."""
    step_context.logger.info("sending order %s for approval", order_id)
    return {"order_id": order_id, "callback_id": callback_id, "status": "sent_for_approval"}


@durable_step
def process_order(step_context: StepContext, order_id: str) -> dict[str, Any]:
    """Take the money, through an API that fails at the first attempt."""
    write_down(order_id, step_context.attempt, "begins")
    time.sleep(PROCESSING_S)
    while is_held(order_id, step_context.attempt):
        time.sleep(POLL_S)
    if step_context.attempt == 1:
        raise ApiDownError("the payment API does not answer")
    write_down(order_id, step_context.attempt, "ends")
    return {"order_id": order_id, "status": "processed"}


@durable_execution
def demo_order(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Validate, wait for approval, wait another second, process."""
    order_id = event["order_id"]
    context.step(validate_order(order_id))
    callback = context.create_callback(
        name="awaiting-approval", config=CallbackConfig(timeout=Duration.from_minutes(3))
    )
    context.step(send_for_approval(callback.callback_id, order_id))
    approval = callback.result()
    context.logger.info("order %s: approval received: %s", order_id, approval)
    context.wait(Duration.from_seconds(1), name="cooling-off")
    retries = StepConfig(retry_strategy=RetryPresets.fixed(Duration.from_seconds(1)))
    return context.step(process_order(order_id), config=retries)


def is_held(order_id: str, attempt: int) -> bool:
    """Return whether the demonstration holds this attempt up."""
    try:
        return HELD.read_text() == f"{order_id} attempt {attempt}"
    except FileNotFoundError:
        return False


def write_down(order_id: str, attempt: int, what: str) -> None:
    """Append a line to the ledger."""
    with LEDGER.open("a") as ledger:
        ledger.write(f"{order_id} attempt {attempt} {what}\n")
