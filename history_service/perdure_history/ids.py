"""The one door to chance in this service."""

from secrets import token_hex

_ID_BYTES = 16


def new_id() -> str:
    """Return 32 hexadecimal characters that nobody can guess."""
    return token_hex(_ID_BYTES)
