"""The one door to chance in this service."""

from uuid import uuid4


def new_id() -> str:
    """Return 32 hexadecimal characters that nobody can guess."""
    return uuid4().hex
