"""Orders: gets a quote, charges the customer, waits for an approval, and confirms the order.

Written for AWS Lambda with the AWS durable execution SDK; it does not use Perdure.
"""

import os
from typing import Any

from aws_durable_execution_sdk_python import (
    DurableContext,
    durable_execution,
    durable_step,
    durable_with_child_context,
)
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration
from aws_durable_execution_sdk_python.types import StepContext

PAYMENT_FUNCTION = os.environ["PAYMENT_FUNCTION"]
QUOTE_FUNCTION = os.environ["QUOTE_FUNCTION"]
APPROVAL = CallbackConfig(
    timeout=Duration.from_hours(1), heartbeat_timeout=Duration.from_minutes(30)
)


@durable_step
def reserve(step: StepContext, order_id: str) -> str:
    """Reserve the goods."""
    step.logger.info("reserving", extra={"order": order_id})
    return f"{os.environ['ORDERS_TABLE']}/{order_id}"


@durable_step
def tell(step: StepContext, order_id: str) -> str:
    """Tell the customer."""
    step.logger.info("confirming", extra={"order": order_id})
    return f"confirmed {order_id}"


@durable_with_child_context
def confirmation(context: DurableContext, order_id: str) -> str:
    """Tell the customer after a second of packing."""
    context.wait(Duration.from_seconds(1), name="packing")
    return context.step(tell(order_id), name="tell")


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Return what became of the order."""
    order_id = event["order_id"]
    reservation = context.step(reserve(order_id), name="reserve")
    price: int = context.invoke(QUOTE_FUNCTION, event["items"], name="quote")
    charge = {"order_id": order_id, "amount": price}
    receipt: str = context.invoke(PAYMENT_FUNCTION, charge, name="charge")
    context.wait(Duration.from_seconds(1), name="settle")
    approval = context.create_callback(name="approval", config=APPROVAL)
    approver = approval.result()
    confirmed = context.run_in_child_context(confirmation(order_id), name="confirmation")
    return {
        "reservation": reservation,
        "receipt": receipt,
        "approver": approver,
        "confirmation": confirmed,
    }
