"""Plain JSON that every reader reads as the same value, for what leaves an execution.

`json.dumps` writes some values that no one reads back: of two keys of a dict that have the same
text only one arrives, NaN and infinities are no JSON, and half of a surrogate pair is no text.
"""

import json
from typing import Any, Final, cast

_ascii: Final = json.JSONEncoder(allow_nan=False)
_unicode: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False)
_compact: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def json_text(value: Any) -> str:
    """Return `value` as JSON in ASCII; raise `ValueError` or `TypeError` for what is lost in it."""
    text = _encoded(_ascii, value)
    if "\\ud" in text:
        _check_text(_encoded(_unicode, value))
    return text


def compact_json_text(value: Any) -> str:
    """Return `value` as JSON without blanks or escapes; raise as `json_text` does."""
    text = _encoded(_compact, value)
    _check_text(text)
    return text


def _encoded(encoder: json.JSONEncoder, value: Any) -> str:
    try:
        text = encoder.encode(value)
    except ValueError as error:
        if "float" not in str(error):
            raise
        raise ValueError("JSON has neither NaN nor infinities; use None or a text") from None
    _check_keys(value)  # nothing contains itself here
    return text


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            "a text contains half of a surrogate pair; decode it with errors='replace'"
        ) from None


def _check_keys(value: object) -> None:
    waiting = [value]
    while waiting:  # ends with the value, which does not contain itself
        each = waiting.pop()
        if isinstance(each, dict):
            mapping = cast("dict[object, object]", each)
            if not all(isinstance(key, str) for key in mapping):
                _check_texts(mapping)
            waiting.extend(mapping.values())
        elif isinstance(each, (list, tuple)):
            waiting.extend(cast("list[object]", each))


def _check_texts(mapping: dict[object, object]) -> None:
    keys: dict[str, object] = {}
    for key in mapping:
        text = key if isinstance(key, str) else json.dumps(key)
        if text in keys:
            raise ValueError(
                f"two keys of a dict have the same text in JSON: {keys[text]!r} and {key!r}"
            )
        keys[text] = key
