"""Quarantine: executions and other rows that cannot be read or folded in, each with its reason.

A mark is derived, never written: it is made when something stored turns out to be unreadable, and
is gone with the process. So a node of a later release, or one that starts over a repaired database,
finds out again. While an execution is marked, nothing of it is loaded, offered or changed, and its
callers get the reason. Everything else goes on.
"""

import contextlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Final

import msgspec

from perdure_core.refusals import Quarantined, Refused
from perdure_host.errors import ChangeRefused, HostError
from perdure_host.metrics import QuarantineKind, ServerMetrics
from perdure_host.ports import Clock, ExecutionKey, UnreadableRow
from perdure_host.telemetry import open_log

# Beyond these the oldest mark is forgotten, and made again when its execution is needed again.
MARKS_MAX: Final = 10_000

_log = open_log("perdure.history")


class Mark(msgspec.Struct, frozen=True):
    """Why, and since when, something is set aside."""

    reason: str
    since_ms: int


class Entry(msgspec.Struct, frozen=True, order=True):
    """What is set aside: a row by its kind and its key in words."""

    since_ms: int
    kind: QuarantineKind
    place: str
    reason: str


class Quarantine:
    """The marks of one node."""

    def __init__(
        self, clock: Clock, metrics: ServerMetrics, forget: Callable[[ExecutionKey], None]
    ) -> None:
        """Create it; `forget` drops what is in memory of an execution."""
        self._clock = clock
        self._forget = forget
        # Called when an execution that was set aside goes on.
        self.on_retried: Callable[[], None] = lambda: None
        # Executions of which a change was refused once.
        self._refused_once: set[ExecutionKey] = set()
        self._executions: dict[ExecutionKey, Mark] = {}
        # By kind and place.
        self._rows: dict[tuple[QuarantineKind, str], Mark] = {}
        for kind, gauge in metrics.quarantined.items():
            gauge.set_function(partial(self.count, kind))

    def __len__(self) -> int:
        """Return the number of marks."""
        return len(self._executions) + len(self._rows)

    def __contains__(self, key: ExecutionKey) -> bool:
        """Return whether the execution is marked."""
        return key in self._executions

    def count(self, kind: QuarantineKind) -> int:
        """Return the number of marks of one kind."""
        of_rows = sum(of == kind for of, _ in self._rows)
        return of_rows + (len(self._executions) if kind == "execution" else 0)

    def get(self, key: ExecutionKey) -> Mark | None:
        """Return the mark of the execution."""
        return self._executions.get(key)

    def entries(self) -> list[tuple[Entry, ExecutionKey | None]]:
        """Return everything that is set aside, oldest first, with the keys of executions."""
        found: list[tuple[Entry, ExecutionKey | None]] = [
            (
                Entry(
                    mark.since_ms, "execution", f"{key.bucket} {key.execution_id!r}", mark.reason
                ),
                key,
            )
            for key, mark in self._executions.items()
        ]
        found += [
            (Entry(mark.since_ms, kind, place, mark.reason), None)
            for (kind, place), mark in self._rows.items()
        ]
        return sorted(found, key=lambda each: each[0])

    def without(self, keys: Sequence[ExecutionKey]) -> list[ExecutionKey]:
        """Return the keys of executions that are not marked."""
        return [key for key in keys if key not in self._executions]

    def check(self, key: ExecutionKey) -> None:
        """Raise Quarantined if the execution is marked."""
        mark = self._executions.get(key)
        if mark is not None:
            raise _refusal(key, mark)

    def set_aside(self, key: ExecutionKey, reason: str) -> Quarantined:
        """Mark the execution, forget its state, and return the refusal for its callers."""
        refusal = self._add(key, reason)
        self._forget(key)
        return refusal

    @contextlib.contextmanager
    def setting_aside(self, key: ExecutionKey, what: str) -> Generator[None]:
        """Set the execution aside if its state makes the code fail, and raise Quarantined."""
        try:
            yield
        except (Refused, HostError):
            raise
        except Exception as error:
            _log.exception("an execution cannot be handled", execution_id=key.execution_id)
            raise self.set_aside(key, f"{what}: {in_words(error)}") from error

    def set_row_aside(self, row: UnreadableRow) -> None:
        """Set aside what an answer of the store has left out."""
        if row.key is None:
            self.add_row(row.kind, row.place, row.reason)
        else:
            self.set_aside(row.key, row.reason)

    def on_refused(self, key: ExecutionKey, error: ChangeRefused) -> None:
        """Forget the state of an execution, which is not that of the database.

        What is read again may be right. If a change is refused again, the execution is set aside.
        """
        if key in self._refused_once:
            self.set_aside(key, str(error))
            return
        if len(self._refused_once) >= MARKS_MAX:
            self._refused_once.clear()
        self._refused_once.add(key)
        self._forget(key)

    def _add(self, key: ExecutionKey, reason: str) -> Quarantined:
        """Mark the execution, log it once, and return the refusal for its callers."""
        mark = self._executions.get(key)
        if mark is None:
            mark = Mark(reason, self._clock.now_ms())
            if len(self._executions) >= MARKS_MAX:
                del self._executions[next(iter(self._executions))]
            self._executions[key] = mark
            _log.error(
                "an execution is quarantined: what is stored of it cannot be read",
                execution_id=key.execution_id,
                bucket=key.bucket,
                reason=reason,
            )
        return _refusal(key, mark)

    def add_row(self, kind: QuarantineKind, place: str, reason: str) -> None:
        """Mark a row that belongs to no execution which could be marked, and log it once."""
        if (kind, place) in self._rows:
            return
        if len(self._rows) >= MARKS_MAX:
            del self._rows[next(iter(self._rows))]
        self._rows[kind, place] = Mark(reason, self._clock.now_ms())
        _log.error("a row of the database cannot be read", kind=kind, place=place, reason=reason)

    def release(self, key: ExecutionKey) -> None:
        """Forget the mark of the execution: it is read again when it is needed."""
        self._executions.pop(key, None)

    def release_alarm(self, key: ExecutionKey) -> None:
        """Forget the marks of an alarm whose row was written again."""
        of_execution = f" {key.bucket} {key.execution_id!r}"
        for kind, place in list(self._rows):
            if kind == "alarm" and place.endswith(of_execution):
                del self._rows[kind, place]

    def release_function(self, namespace: str, name: str) -> None:
        """Forget the mark of a function whose row was written again."""
        self._rows.pop(("function", f"{namespace!r} {name!r}"), None)


def in_words(error: Exception) -> str:
    """Return the kind and the message of an error."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _refusal(key: ExecutionKey, mark: Mark) -> Quarantined:
    return Quarantined(
        f"execution {key.execution_id} is quarantined, because what is stored of it cannot be read:"
        f" {mark.reason}"
    )
