"""Plain JSON that every reader reads as the same value, for what leaves an execution.

Two texts may be one value: keys in another order, other blanks, other escapes.

`json.dumps` writes some values that no one reads back: of two keys of a dict that have the same
text only one arrives, NaN and infinities are no JSON, and half of a surrogate pair is no text.
"""

import json
import math
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


def is_same_value(text: str, other: str) -> bool:
    """Return whether two texts are the same JSON value; texts that are no JSON are no value.

    The order of keys, blanks, escapes, and how a number is written do not count: 1, 1.0 and 1e0 are
    equal, true and 1 are not. Of equal keys the last one counts. Numbers beyond the range of a
    double, and more than a thousand levels, are no JSON here.
    """
    try:
        return bool(_value(text) == _value(other))
    except (ValueError, RecursionError):
        return False


def _value(text: str) -> Any:
    return json.loads(
        text, parse_int=_integer, parse_float=_double, parse_constant=_refused_constant
    )


def _integer(text: str) -> tuple[int]:
    return (int(text),)  # in a tuple, since True is equal to 1


def _double(text: str) -> tuple[float]:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is beyond the range of a double")
    return (value,)


def _refused_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


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
