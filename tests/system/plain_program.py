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
    """Return the price of an item."""
    if not event["item"]:
        raise ValueError("no price")
    return {"item": event["item"], "price": len(event["item"])}


@plain_function(name="price-later")
async def price_later(event: dict[str, str], _context: PlainContext) -> int:
    """Return the price of an item, after a moment."""
    await asyncio.sleep(0)
    return len(event["item"])


@plain_function(tenant_isolation=True)
def tenant(_event: Any, context: PlainContext) -> str | None:
    """Return the tenant of the invocation."""
    return context.tenant_id


@plain_function(execution_timeout=Duration.from_minutes(10))
def held(event: str, context: PlainContext) -> str:
    """Write a line into the ledger, and wait until a file exists."""
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
    """Get the prices of items, and pack them."""
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
