"""Identity of a durable call, and the check that it matches the recorded operation.

A call is identified by its position: the n-th durable call of its context. Type, sub-type, name and
parent must equal what is recorded under that id; arguments are not compared. The derivation of ids
is that of the AWS Lambda durable execution SDK for Python 3.0, so each finds the other's records.
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
    """Return a key that is unique to an operation among all of all executions: 64 characters.

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
    """The identity of a durable call. `number` is its position in its context, from 1.

    `line` is the line of user code that makes the call, as file:line; known when replay differs.
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
        """Return the call as messages show it: the kind, and the name if there is one."""
        return _describe(self.type, self.sub_type, self.name)

    def describe_call(self) -> str:
        """Return the same with the line of the call, where it is known."""
        return self.describe() if self.line is None else f"{self.describe()}, at {self.line}"


def check_name(name: str | None) -> None:
    """Raise `ValidationError` for a `name` of other than 1 to 256 printable ASCII characters."""
    if name is None:
        return
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ValidationError(
            f"An operation name must be a text, got {type(name).__name__}. Pass a configuration as"
            " config=…."
        )
    printable = name.isascii() and name.isprintable()
    if not (printable and 1 <= len(name) <= OPERATION_NAME_CHARS_MAX):
        raise ValidationError(
            f"An operation name must be 1 to {OPERATION_NAME_CHARS_MAX} printable ASCII characters,"
            " got "
            f"{name[:OPERATION_NAME_CHARS_MAX]!r}"
        )


def check_recorded(requested: Identity, recorded: Operation) -> None:
    """Raise `NonDeterministicExecutionError` when another call is recorded here."""
    differing = differing_fields(requested, recorded)
    if differing:
        raise NonDeterministicExecutionError(
            _difference(requested, recorded, differing), recorded.id
        )


def differing_fields(requested: Identity, recorded: Operation) -> list[str]:
    """Return the fields in which the recorded operation differs; empty if it is the same call."""
    return [
        field
        for field in ("type", "sub_type", "name", "parent_id")
        if getattr(requested, field) != getattr(recorded, field)
    ]


def describe_recorded(operation: Operation) -> str:
    """Return a recorded operation as messages show it."""
    return _describe(operation.type, operation.sub_type, operation.name)


def _difference(requested: Identity, recorded: Operation, differing: list[str]) -> str:
    expected = describe_recorded(recorded)
    actual = requested.describe()
    if differing == ["parent_id"]:
        expected += f" in context {recorded.parent_id or 'of the handler'}"
        actual += f" in context {requested.parent_id or 'of the handler'}"
    if requested.line is not None:
        actual += f", at {requested.line}"
    return (
        f"Durable call {requested.number} does not match the history ({', '.join(differing)}).\n"
        f"  recorded:  {expected}\n"
        f"  requested: {actual}\n"
        f"Every replay must make the same durable calls in the same order. Operation {recorded.id}."
    )


def _describe(kind: OperationType, sub_type: str | None, name: str | None) -> str:
    described = kind.value if sub_type is None else f"{kind.value} ({sub_type})"
    return described if name is None else f"{described} {name!r}"
