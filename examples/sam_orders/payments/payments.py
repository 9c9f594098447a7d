"""Payments: charges a card, and refuses amounts above a limit.

Written for AWS Lambda with the AWS durable execution SDK; it does not use Perdure.
"""

from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution, durable_step
from aws_durable_execution_sdk_python.types import StepContext

AMOUNT_MAX = 1_000


@durable_step
def charge(step: StepContext, order_id: str, amount: int) -> str:
    """Charge the card."""
    step.logger.info("charging", extra={"order": order_id, "amount": amount})
    return f"receipt-{order_id}-{amount}"


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> str:
    """Return the receipt. Raises ValueError for amounts beyond what a card takes."""
    if event["amount"] > AMOUNT_MAX:
        raise ValueError(f"no card pays {event['amount']}")
    return context.step(charge(event["order_id"], event["amount"]), name="card")
