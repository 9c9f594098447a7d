"""An order with flaky steps, at-most-once steps, waits and an approval.

Each run of a step's body leaves its begin and its end in the ledger, with a value that no other run
returns, so that the recorded result tells which run it came from.
"""

import random
import time
import uuid
from typing import Any, Final

from perdure import CallbackError, DurableContext, StepContext, durable_execution, durable_step
from perdure.config import CallbackConfig, Duration, StepConfig, StepSemantics
from perdure.retries import RetryDecision
from tests.system.ledger import Entry, write_down

WORK_S_MAX: Final = 0.8
# More than any order is ever interrupted.
ATTEMPTS_MAX: Final = 50


def retry_soon(_error: Exception, attempt: int) -> RetryDecision:
    """Retry after the shortest possible delay."""
    if attempt >= ATTEMPTS_MAX:
        return RetryDecision.no_retry()
    return RetryDecision.retry(Duration.from_seconds(1))


AT_LEAST_ONCE = StepConfig(retry_strategy=retry_soon)
AT_MOST_ONCE = StepConfig(
    retry_strategy=retry_soon, step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY
)


class ShopDownError(Exception):
    """The shop's service does not answer."""


@durable_step
def work(step: StepContext, order: str, who: str, failures: int) -> str:
    """Fail so many times, and take a while, so that kills can interrupt it."""
    write_down(Entry(order=order, who=who, what="begins", attempt=step.attempt))
    time.sleep(random.uniform(0, WORK_S_MAX))
    if step.attempt <= failures:
        raise ShopDownError(f"{who} does not answer")
    outcome = f"{who} {uuid.uuid4()}"
    write_down(Entry(order=order, who=who, what="ends", attempt=step.attempt, outcome=outcome))
    return outcome


@durable_step
def ask(step: StepContext, order: str, callback_id: str) -> None:
    """Send the callback id to the approver, who reads the ledger."""
    asked = Entry(order=order, who="ask", what="asks", attempt=step.attempt, outcome=callback_id)
    write_down(asked)


@durable_execution
def chaos_order(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Price, pay, wait, get an approval, ship."""
    order = event["order"]
    failures = event["failures"]
    price = context.step(work(order, "price", failures), name="price", config=AT_LEAST_ONCE)
    pay = context.step(work(order, "pay", failures), name="pay", config=AT_MOST_ONCE)
    write_down(Entry(order=order, who="rest", what="comes"))
    context.wait(Duration.from_seconds(event["rest_s"]), name="rest")
    write_down(Entry(order=order, who="rest", what="goes"))
    timeout = Duration.from_seconds(event["patience_s"])
    callback = context.create_callback(name="approval", config=CallbackConfig(timeout=timeout))
    context.step(ask(order, callback.callback_id), name="ask", config=AT_LEAST_ONCE)
    try:
        approval = callback.result()
    except CallbackError as error:
        approval = type(error).__name__
    ship = context.step(work(order, "ship", 0), name="ship", config=AT_MOST_ONCE)
    return {"order": order, "price": price, "pay": pay, "approval": approval, "ship": ship}
