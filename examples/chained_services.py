"""Two durable functions, one of which invokes the other: a checkout and its payment.

    perdure dev examples/chained_services.py
    perdure invoke checkout --payload '{"order_id": "o-1", "amount": 90}'
    perdure invoke checkout --payload '{"order_id": "o-2", "amount": 9000}'

They may run on different workers and be deployed separately: `perdure worker` serves the functions
of the modules on its command line. While the payment settles, the checkout is suspended.
"""

from typing import Any

from perdure import DurableContext, InvokeError, StepContext, durable_execution, durable_step
from perdure.config import Duration, StepConfig
from perdure.retries import RetryPresets

AMOUNT_MAX = 5_000


class DeclinedError(Exception):
    """The bank declined the payment."""


@durable_step
def authorize(step: StepContext, order_id: str, amount: int) -> str:
    """Authorize the payment at the bank."""
    if amount > AMOUNT_MAX:
        raise DeclinedError(f"{amount} is more than {AMOUNT_MAX}")
    step.logger.info("authorized %d for %s", amount, order_id)
    return f"authorization-{order_id}"


@durable_step
def capture(step: StepContext, authorization: str) -> dict[str, Any]:
    """Take the money. The idempotency key lets the bank recognize a repeated request."""
    step.logger.info("captured %s, key %s", authorization, step.idempotency_key)
    return {"authorization": authorization, "captured": True}


@durable_execution
def payment(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Authorize, let it settle, capture."""
    authorization = context.step(
        authorize(event["order_id"], event["amount"]),
        config=StepConfig(retry_strategy=RetryPresets.none()),
    )
    context.wait(Duration.from_seconds(2), name="settle")
    return context.step(capture(authorization))


@durable_step
def reserve(_step: StepContext, order_id: str) -> str:
    """Reserve the goods."""
    return f"reservation-{order_id}"


@durable_step
def release(step: StepContext, reservation: str) -> None:
    """Release the goods."""
    step.logger.info("released %s", reservation)


@durable_execution
def checkout(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Reserve the goods and invoke the payment; release the goods if it fails."""
    reservation = context.step(reserve(event["order_id"]))
    try:
        receipt: dict[str, Any] = context.invoke("payment", event, name="pay")
    except InvokeError as error:
        context.step(release(reservation))
        return {"status": "declined", "reason": str(error)}
    return {"status": "paid", "receipt": receipt}
