"""Random ids: the only source of randomness in this service."""

from secrets import token_hex

_ID_BYTES = 16


def new_id() -> str:
    """Return 32 random hexadecimal characters that cannot be guessed."""
    return token_hex(_ID_BYTES)
