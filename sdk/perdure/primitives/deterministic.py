"""UUIDs and random generators that are equal on every replay, with nothing recorded.

Each is derived from a name: `{execution ARN}/{id of the context's operation, or
nothing}/{kind}/{number}`. So values are equal in every replay, and differ between executions,
between contexts, and between calls. They are not secrets: the name is enough to compute the value.
"""

import hashlib
from random import Random
from typing import Final
from uuid import UUID, uuid5

UUID_KIND: Final = "uuid"
RANDOM_KIND: Final = "random"
# Must never change: it is part of what every replay derives.
NAMESPACE: Final = UUID("b8e3ae4c-5f0a-5d43-9d52-1f8a8f0c6b6e")


def deterministic_name(execution_arn: str, prefix: str | None, kind: str, number: int) -> str:
    """Return the name of the `number`-th value of a kind, from 1, in the context of `prefix`."""
    return f"{execution_arn}/{prefix or ''}/{kind}/{number}"


def deterministic_uuid(name: str) -> UUID:
    """Return the UUID, version 5 (RFC 9562, section 5.5), of a name."""
    return uuid5(NAMESPACE, name)


def deterministic_random(name: str) -> Random:
    """Return a generator that starts with the BLAKE2b hash of a name."""
    seed = int.from_bytes(hashlib.blake2b(name.encode()).digest())
    return Random(seed)  # noqa: S311 - equal in every replay, and so not a secret
