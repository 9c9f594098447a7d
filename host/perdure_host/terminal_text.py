"""Text of others, made harmless for a terminal.

Names, payloads, errors and log lines hold what callers wrote. Control characters and marks of
direction in them would move the cursor, change titles or turn a line round; they are shown as
escapes instead. Line breaks and tabs stay.
"""

import re
from typing import Final

# C0 but tab and line feed, DEL and C1, and the marks, embeddings, overrides and isolates of
# bidirectional text, with the separators of lines and paragraphs.
_DRIVES: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]"
)

_LATIN_1_MAX: Final = 0xFF


def visible(text: str) -> str:
    """Return the text with each character that drives a terminal as an escape of Python."""
    return _DRIVES.sub(lambda match: _escape(match.group()), text)


def escaped_json(text: str) -> str:
    """Return JSON of the same value without such characters: they stand in strings only."""
    return _DRIVES.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code <= _LATIN_1_MAX else f"\\u{code:04x}"
