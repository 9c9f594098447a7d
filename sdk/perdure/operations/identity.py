"""Which operation a durable call is, and whether that is what the record holds.

A call is known by its place: the n-th durable call of its context. Type, sub-type, name and parent
must agree with what is recorded under that id; arguments are not compared. The derivation of ids is
that of the AWS Lambda durable execution SDK for Python 3.0, so both find each other's records.
"""

import hashlib
import threading
from typing import Any

import msgspec

from perdure.exceptions import NonDeterministicExecutionError, ValidationError
from perdure_core.limits import OPERATION_NAME_CHARS_MAX
from perdure_core.model import Operation, OperationAction, OperationType, OperationUpdate

_ID_CHARS = 64


def operation_id(prefix: str | None, number: int) -> str:
    """Return the id of the `number`-th durable call, from 1, of the context that `prefix` names."""
    place = str(number) if prefix is None else f"{prefix}-{number}"
    return hashlib.blake2b(place.encode()).hexdigest()[:_ID_CHARS]


def idempotency_key(execution_arn: str, operation_id: str) -> str:
    """Return what tells an operation from all others of all executions, for ever: 64 characters.

    An ARN holds the id of one execution, so a name that is used again does not repeat a key.
    """
    place = f"{execution_arn}\n{operation_id}"
    return hashlib.blake2b(place.encode(), digest_size=_ID_CHARS // 2).hexdigest()


class OperationIds:
    """Hands out the ids of one context, in the order in which calls arrive."""

    def __init__(self, prefix: str | None = None) -> None:
        self._prefix = prefix
        self._count = 0
        self._lock = threading.Lock()

    def take(self) -> tuple[int, str]:
        """Return the number and the id of the call that arrives now."""
        with self._lock:
            self._count += 1
            return self._count, operation_id(self._prefix, self._count)

    def peek(self) -> str:
        """Return the id that the next call will get."""
        return operation_id(self._prefix, self._count + 1)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a durable call asks for. `number` is its place in its context, from 1.

    `line` is where user code asks, as file:line; known where the record holds something else.
    """

    number: int
    id: str
    type: OperationType
    sub_type: str
    name: str | None = None
    parent_id: str | None = None
    line: str | None = None

    def update(self, action: OperationAction, **options: Any) -> OperationUpdate:
        """Return an update of this operation; each one repeats the identity."""
        return OperationUpdate(
            id=self.id,
            type=self.type,
            action=action,
            parent_id=self.parent_id,
            name=self.name,
            sub_type=self.sub_type,
            **options,
        )

    def describe(self) -> str:
        """Return words for messages: the kind, and the name if there is one."""
        return _describe(self.type, self.sub_type, self.name)

    def describe_call(self) -> str:
        """Return the same, and the line of the call where it is known."""
        return self.describe() if self.line is None else f"{self.describe()}, at {self.line}"


def check_name(name: str | None) -> None:
    """Raise `ValidationError` for a `name` of other than 1 to 256 printable ASCII characters.

    An empty one is none.
    """
    if not name:
        return
    if not (name.isascii() and name.isprintable() and len(name) <= OPERATION_NAME_CHARS_MAX):
        raise ValidationError(
            f"An operation's name is 1 to {OPERATION_NAME_CHARS_MAX} printable ASCII characters: "
            f"{name[:OPERATION_NAME_CHARS_MAX]!r}"
        )


def check_recorded(requested: Identity, recorded: Operation) -> None:
    """Raise `NonDeterministicExecutionError` when the record holds another call here."""
    differing = differing_fields(requested, recorded)
    if differing:
        raise NonDeterministicExecutionError(
            _difference(requested, recorded, differing), recorded.id
        )


def differing_fields(requested: Identity, recorded: Operation) -> list[str]:
    """Return in what the record holds another call here; nothing if it holds this one."""
    return [
        field
        for field in ("type", "sub_type", "name", "parent_id")
        if getattr(requested, field) != getattr(recorded, field)
    ]


def describe_recorded(operation: Operation) -> str:
    """Return words for messages about what is recorded."""
    return _describe(operation.type, operation.sub_type, operation.name)


def _difference(requested: Identity, recorded: Operation, differing: list[str]) -> str:
    there = describe_recorded(recorded)
    here = requested.describe()
    if differing == ["parent_id"]:
        there += f" in context {recorded.parent_id or 'of the handler'}"
        here += f" in context {requested.parent_id or 'of the handler'}"
    if requested.line is not None:
        here += f", at {requested.line}"
    return (
        f"The code asks for something else than what is recorded at durable call {requested.number}"
        f" ({', '.join(differing)}).\n"
        f"  recorded:  {there}\n"
        f"  requested: {here}\n"
        f"Every replay must make the same durable calls in the same order. Operation {recorded.id}."
    )


def _describe(kind: OperationType, sub_type: str | None, name: str | None) -> str:
    shown = kind.value if sub_type is None else f"{kind.value} ({sub_type})"
    return shown if name is None else f"{shown} {name!r}"
