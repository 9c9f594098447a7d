"""Places of operations in their program: "2-1" is the first durable call inside the second.

Ids are hashes of such places, so places are found by trying: below each context that is recorded,
and below those that are not, because they are virtual.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from perdure.operations.identity import operation_id
from perdure.testing import HistoryEvent

# Calls of one context count from 1, branches of one batch from 0.
NUMBERS: Final = range(7)
# How many virtual contexts lie directly inside each other.
VIRTUAL_DEPTH_MAX: Final = 3


class Places:
    """The places of the operations of one history, by their ids; "" is the execution."""

    def __init__(self, events: Iterable[HistoryEvent]) -> None:
        ids = {event.id or "" for event in events}
        contexts = {event.id or "" for event in events if event.event_type == "ContextStarted"}
        self._places = {"": ""}
        found = [""]
        for above in found:
            for id_, place in _below(above):
                if id_ in ids and id_ not in self._places:
                    self._places[id_] = f"{self._places[above]}-{place}".removeprefix("-")
                    found.extend([id_] if id_ in contexts else [])

    def __getitem__(self, id_: str | None) -> str:
        return self._places[id_ or ""]


@cache
def _below(above: str) -> tuple[tuple[str, str], ...]:
    return tuple(_walk(above or None, "", VIRTUAL_DEPTH_MAX))


def _walk(above: str | None, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    for number in NUMBERS:
        id_, place = operation_id(above, number), f"{prefix}{number}"
        yield id_, place
        if depth:
            yield from _walk(id_, f"{place}-", depth - 1)
