"""Order with a human approval. Refused, or not answered in two days: the money is refunded.

    perdure dev examples/order_with_approval.py
    perdure invoke order_with_approval --payload '{"order_id": "o-1", "amount": 120}' --detach

The worker's log shows the command that approves it. Waiting costs nothing: no process, no thread.
"""

from typing import Any

from perdure import (
    CallbackExternalError,
    CallbackTimeoutError,
    DurableContext,
    StepContext,
    durable_execution,
    durable_step,
    durable_wait_for_callback,
)
from perdure.config import Duration, StepConfig, WaitForCallbackConfig
from perdure.retries import RetryPresets
from perdure.serdes import JsonSerDes
from perdure.types import WaitForCallbackContext

APPROVAL = WaitForCallbackConfig(timeout=Duration.from_days(2), serdes=JsonSerDes())
# A refund must not be lost, so it is retried longer than other steps.
REFUND = StepConfig(retry_strategy=RetryPresets.critical())


@durable_step
def take_payment(step: StepContext, order_id: str, amount: int) -> dict[str, Any]:
    """Take the money. The idempotency key lets the bank recognize a repeated request."""
    step.logger.info("taking %d for order %s, key %s", amount, order_id, step.idempotency_key)
    return {"payment_id": f"payment-{order_id}", "amount": amount}


@durable_wait_for_callback
def ask_for_approval(callback_id: str, context: WaitForCallbackContext, order_id: str) -> None:
    """Ask a person to decide. A real one sends a mail or a chat message."""
    context.logger.info(
        "order %s waits for: perdure callbacks succeed %s --result '{\"approved\": true}'",
        order_id,
        callback_id,
    )


@durable_step
def refund(step: StepContext, payment: dict[str, Any], reason: str) -> None:
    """Refund the money once: the key is the same in every attempt, and unique to this step."""
    step.logger.info(
        "refunding %s: %s, key %s", payment["payment_id"], reason, step.idempotency_key
    )


@durable_step
def ship(step: StepContext, order_id: str) -> str:
    """Send the parcel; return its tracking number."""
    step.logger.info("shipping order %s", order_id)
    return f"parcel-{order_id}"


@durable_execution
def order_with_approval(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Take the money, ask for approval, then ship or refund."""
    order_id = event["order_id"]
    payment = context.step(take_payment(order_id, event["amount"]))
    refusal = decide(context, order_id)
    if refusal is not None:
        context.step(refund(payment, refusal), config=REFUND)
        return {"order_id": order_id, "status": "refunded", "reason": refusal}
    return {"order_id": order_id, "status": "shipped", "parcel": context.step(ship(order_id))}


def decide(context: DurableContext, order_id: str) -> str | None:
    """Wait for a decision; return why the order is refused, or None if it is approved."""
    try:
        decision = context.wait_for_callback(ask_for_approval(order_id), config=APPROVAL)
    except CallbackTimeoutError:
        return "nobody decided in time"
    except CallbackExternalError as error:
        return str(error)
    return None if decision["approved"] else decision.get("reason", "refused")
