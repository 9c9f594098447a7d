"""Functions whose values come back from records: drawn ones, typed ones, large ones.

What stands in `functions.py` holds for this file too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import Any, Final

from perdure import DurableContext, StepContext, durable_execution, durable_step
from tests.system.earlier.functions import HOUR, same


@durable_execution
def draws(_event: Any, context: DurableContext) -> list[bool]:
    """Compare the time, an identifier and a number with those that were drawn an hour ago."""
    drawn = [
        context.now("drawn").isoformat(),
        str(context.uuid()),
        context.random().randint(1, 1_000_000_000),
    ]
    kept = context.step(same(drawn), "kept")
    context.wait(HOUR, "hour")
    return [mine == recorded for mine, recorded in zip(drawn, kept, strict=True)]


class Size(Enum):
    """An enum in a dataclass."""

    SMALL = "small"
    LARGE = "large"


@dataclass(frozen=True)
class Parcel:
    """A dataclass of what JSON has not."""

    number: int
    size: Size
    tags: frozenset[str]
    due: datetime
    price: Decimal
    inside: "Parcel | None" = None


@dataclass(frozen=True)
class Letter:
    """One of two classes that only a tag tells apart."""

    text: str


@dataclass(frozen=True)
class Card:
    """The other one."""

    text: str


_DUE: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_SMALL: Final = Parcel(1, Size.SMALL, frozenset(), _DUE, Decimal("1.10"))
_LARGE: Final = Parcel(2, Size.LARGE, frozenset({"b", "a"}), _DUE, Decimal(2), _SMALL)


@durable_step
def pack(_step: StepContext) -> Parcel:
    """Return a parcel in a parcel."""
    return _LARGE


@durable_step
def write(_step: StepContext) -> list[Letter | Card]:
    """Return one of each."""
    return [Letter("a"), Card("b")]


@durable_execution
def types(event: Parcel, context: DurableContext) -> dict[Size, list[Parcel]]:
    """Return what comes back as what it was; nothing else is returned."""

    def item(_branch: DurableContext, value: Parcel, _index: int, _items: Any) -> Parcel:
        return value

    untyped = {"pair": (1, Decimal("1.10")), "bytes": b"x"}
    packed, written = context.step(pack()), context.step(write())
    mapped = context.map([_SMALL], item, "mapped").get_results()
    returned = context.step(same(untyped), "untyped")
    assert (packed, written, mapped) == (_LARGE, [Letter("a"), Card("b")], [_SMALL])
    assert returned == untyped
    context.wait(HOUR, "hour")
    return {packed.size: [packed], event.size: [event]}


@durable_execution
def keeps_much(event: str, context: DurableContext) -> list[Any]:
    """Keep what is too large to stand in the history; return what it hashes to."""
    texts = [event, context.step(same("☃" * 3_000), "snow")]
    context.wait(HOUR, "hour")
    return [[len(text), sha256(text.encode()).hexdigest()[:8]] for text in texts]
