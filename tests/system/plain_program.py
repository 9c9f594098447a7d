"""Plain functions, and a durable one that invokes them."""

import asyncio
import threading
from pathlib import Path
from typing import Any, TypedDict

from perdure import (
    DurableContext,
    InvokeError,
    PlainContext,
    durable_execution,
    plain_function,
)
from perdure.config import Duration, InvokeConfig
from tests.system.ledger import Entry, write_down

RELEASE_S_MAX = 60.0


class Priced(TypedDict):
    """An item with its price."""

    item: str
    price: int


@plain_function
def price(event: dict[str, str], _context: PlainContext) -> Priced:
    """Say what an item costs."""
    if not event["item"]:
        raise ValueError("no price")
    return {"item": event["item"], "price": len(event["item"])}


@plain_function(name="price-later")
async def price_later(event: dict[str, str], _context: PlainContext) -> int:
    """Say what an item costs, not at once."""
    await asyncio.sleep(0)
    return len(event["item"])


@plain_function(tenant_isolation=True)
def tenant(_event: Any, context: PlainContext) -> str | None:
    """Say on whose behalf it was invoked."""
    return context.tenant_id


@plain_function(execution_timeout=Duration.from_minutes(10))
def held(event: str, context: PlainContext) -> str:
    """Leave a line in the ledger, and wait until a file is there."""
    write_down(Entry(order=context.execution_arn, who="held", what="enters"))
    pause = threading.Event()
    for _ in range(int(RELEASE_S_MAX / 0.02)):
        if Path(event).exists():
            return "released"
        pause.wait(0.02)
    raise TimeoutError(event)


@durable_execution
def pack(event: list[str], context: DurableContext) -> str:
    """Pack so many items."""
    context.wait(Duration.from_seconds(1))
    return f"packed {len(event)}"


@durable_execution
def order(event: list[str], context: DurableContext) -> dict[str, Any]:
    """Ask what items cost, and pack them."""
    first: Priced = context.invoke("price", {"item": event[0]})
    second: int = context.invoke("price-later", {"item": event[1]})
    refused = ""
    try:
        context.invoke("price", {"item": ""})
    except InvokeError as error:
        refused = f"{error.error_type}: {error}"
    return {
        "prices": [first["price"], second],
        "refused": refused,
        "packed": context.invoke("pack", event),
        "tenant": context.invoke("tenant", None, config=InvokeConfig[Any, Any](tenant_id="blue")),
    }
