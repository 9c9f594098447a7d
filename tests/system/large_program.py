"""Functions with values of the largest allowed size, for tests of the whole system."""

import hashlib
from typing import Any

from perdure import DurableContext, StepContext, durable_execution
from perdure.config import CallbackConfig, Duration, MapConfig
from perdure.serdes import PassThroughSerDes
from tests.system.ledger import Entry, write_down

# In bytes, quotation marks included.
SIZE = 67_108_864
ITEMS = 10_000


def large(seed: str) -> str:
    """Return a text of the largest allowed size when it is written as JSON."""
    unit = hashlib.sha256(seed.encode()).hexdigest()
    return (unit * (SIZE // len(unit) + 1))[: SIZE - 2]


@durable_execution
def returns_large(event: str, context: DurableContext) -> str:
    """Return the results of a step and a child context, after a replay."""

    def body(_step: StepContext) -> str:
        write_down(Entry(order=event, who="returns_large", what="body"))
        return large(event)

    value: str = context.run_in_child_context(lambda child: child.step(body))
    context.wait(Duration.from_milliseconds(1), name="replayed")
    return value


@durable_execution
def outgrows(event: str, context: DurableContext) -> list[Any]:
    """Return size and digest of a child's result that is too large to store, after a replay."""

    def note(part: str) -> str:
        write_down(Entry(order=event, who="outgrows", what=part))
        return part

    def body(child: DurableContext) -> str:
        write_down(Entry(order=event, who="outgrows", what="context"))
        parts = [child.step(lambda _: note("first")), child.step(lambda _: note("second"))]
        return large("".join(parts)) + "x"

    value: str = context.run_in_child_context(body, "large")
    answered = context.create_callback("answer").result()
    return [len(value), digest(value), answered]


@durable_execution
def takes_large(event: str, context: DurableContext) -> Any:
    """Return digests of the values received: the input, a child's result and a callback's."""
    invoked: str = context.invoke("echo", event, "child")
    config = CallbackConfig(timeout=Duration.from_minutes(10), serdes=PassThroughSerDes())
    answered = context.create_callback("answer", config).result()
    return [digest(event), digest(invoked), digest(answered)]


@durable_execution
def echo(event: str, _context: DurableContext) -> str:
    """Return the event."""
    return event


@durable_execution
def many(_event: Any, context: DurableContext) -> list[Any]:
    """Map over very many items, and return a digest of the results after a replay."""

    def each(_child: DurableContext, item: int, *_: Any) -> str:
        write_down(Entry(order=f"{item}", who="many", what="body"))
        return f"{item:05d}" * 10

    result = context.map(range(ITEMS), each, "many", MapConfig(max_concurrency=100))
    context.wait(Duration.from_milliseconds(1), name="replayed")
    return [result.success_count, digest("".join(result.get_results()))]


def digest(text: str) -> str:
    """Return a digest of a large text."""
    return hashlib.sha256(text.encode()).hexdigest()
