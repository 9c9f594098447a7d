"""Texts cut to a bound, and previews of texts for messages.

What is returned can be encoded in UTF-8: a lone surrogate, for example from a file name, becomes a
question mark.
"""

from typing import Final, overload

# Enough to recognise a value. ARNs differ at their ends.
PREVIEW_CHARS_MAX: Final = 100
ARN_PREVIEW_CHARS_MAX: Final = 200

_ELLIPSIS: Final = "…"
_ELLIPSIS_BYTES: Final = len(_ELLIPSIS.encode())


@overload
def cut_bytes(text: str, bytes_max: int) -> str: ...
@overload
def cut_bytes(text: str | None, bytes_max: int) -> str | None: ...
def cut_bytes(text: str | None, bytes_max: int) -> str | None:
    """Return the text, or its beginning and an ellipsis, of at most bytes_max bytes in UTF-8."""
    if text is None:
        return None
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - _ELLIPSIS_BYTES].decode(errors="ignore") + _ELLIPSIS


@overload
def cut_chars(text: str, chars_max: int) -> str: ...
@overload
def cut_chars(text: str | None, chars_max: int) -> str | None: ...
def cut_chars(text: str | None, chars_max: int) -> str | None:
    """Return the text, or its beginning and an ellipsis, of at most chars_max characters."""
    if text is None:
        return None
    encodable = text.encode(errors="replace").decode()
    if len(encodable) <= chars_max:
        return encodable
    return encodable[: chars_max - len(_ELLIPSIS)] + _ELLIPSIS


def preview(text: str, chars_max: int = PREVIEW_CHARS_MAX) -> str:
    """Return the text in quotes; of a long one the beginning, and how long it is."""
    if len(text) <= chars_max:
        return repr(text)
    return f"{text[:chars_max]!r}… ({len(text):,} characters)"
