"""An AI agent: a model chooses tools in a loop, and a person approves the dangerous ones.

    perdure dev examples/agent_loop.py
    perdure invoke agent --payload '{"task": "Order o-1 arrived broken."}' --detach

The worker's log shows the commands that approve or refuse. Each call of the model and of a tool is
a step: a call that was answered before a crash is neither made nor paid for again. `ask_model`
stands in for a model, without a network; replace it with a call of yours.
"""

import json
from collections.abc import Callable
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
from perdure.types import WaitForCallbackContext

TURNS_MAX = 10
APPROVAL = WaitForCallbackConfig(timeout=Duration.from_hours(8))
MODEL = StepConfig(retry_strategy=RetryPresets.transient())

Message = dict[str, Any]


class NoAnswerError(Exception):
    """The model kept calling tools and gave no answer."""


def find_order(order_id: str) -> Message:
    """Find an order."""
    return {"order_id": order_id, "item": "lamp", "price": 40}


def refund_order(order_id: str, amount: int) -> Message:
    """Refund an order."""
    return {"order_id": order_id, "refunded": amount}


TOOLS: dict[str, Callable[..., Message]] = {"find_order": find_order, "refund_order": refund_order}
DANGEROUS = frozenset({"refund_order"})


def ask_model(messages: list[Message]) -> Message:
    """Return the model's next move: a tool to call, or an answer. This one is scripted."""
    results = [message["content"] for message in messages if message["role"] == "tool"]
    match results:
        case []:
            return {"tool": "find_order", "arguments": {"order_id": "o-1"}}
        case [order]:
            return {
                "tool": "refund_order",
                "arguments": {"order_id": "o-1", "amount": order["price"]},
            }
        case [*_, {"refused": reason}]:
            return {"answer": f"I may not give the money back: {reason}."}
        case _:
            return {"answer": "I am sorry about that; your money is on its way back."}


@durable_step
def think(step: StepContext, messages: list[Message]) -> Message:
    """Ask the model what to do next."""
    move = ask_model(messages)
    step.logger.info("the model says: %s", json.dumps(move))
    return move


@durable_step
def use_tool(_step: StepContext, move: Message) -> Message:
    """Call a tool; an unknown one is reported to the model, which may correct itself."""
    tool = TOOLS.get(move["tool"])
    if tool is None:
        return {"error": f"there is no tool {move['tool']}"}
    return tool(**move["arguments"])


@durable_wait_for_callback
def ask_person(callback_id: str, context: WaitForCallbackContext, move: Message) -> None:
    """Notify a person of what the model wants to do."""
    context.logger.info("the model wants: %s", json.dumps(move))
    context.logger.info("approve: perdure callbacks succeed %s", callback_id)
    context.logger.info("refuse: perdure callbacks fail %s --error-message 'why not'", callback_id)


@durable_execution
def agent(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Run the tools that the model chooses, until it has an answer."""
    messages: list[Message] = [{"role": "user", "content": event["task"]}]
    for turn in range(1, TURNS_MAX + 1):
        move = context.step(think(list(messages)), name=f"think-{turn}", config=MODEL)
        if "answer" in move:
            return {"answer": move["answer"], "turns": turn}
        outcome = act(context, move, turn)
        messages.append({"role": "assistant", "content": move})
        messages.append({"role": "tool", "content": outcome})
    raise NoAnswerError(f"no answer after {TURNS_MAX} turns")


def act(context: DurableContext, move: Message, turn: int) -> Message:
    """Run the tool, if a person approves where that is needed."""
    if move["tool"] in DANGEROUS:
        try:
            context.wait_for_callback(ask_person(move), name=f"approve-{turn}", config=APPROVAL)
        except CallbackExternalError as error:
            return {"refused": str(error)}
        except CallbackTimeoutError:
            return {"refused": "nobody approved it in time"}
    return context.step(use_tool(move), name=f"{move['tool']}-{turn}")
