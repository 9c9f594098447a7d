"""JSON as the Lambda API writes it: absent fields are left out, times are seconds of the epoch."""

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response

_MEDIA_TYPE: Final = "application/json"
_encoder: Final = msgspec.json.Encoder()


def json_response(
    body: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer."""
    return Response(
        _encoder.encode(body), status_code=status, headers=headers, media_type=_MEDIA_TYPE
    )


def encoded(value: Mapping[str, object]) -> bytes:
    """Return the JSON of a part of an answer."""
    return _encoder.encode(value)


def present(**fields: object) -> dict[str, object]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def seconds(time_ms: int) -> float:
    """Return a time as the API writes it."""
    return time_ms / 1_000


def optional_seconds(time_ms: int | None) -> float | None:
    """Return a time as the API writes it, if there is one."""
    return None if time_ms is None else seconds(time_ms)
