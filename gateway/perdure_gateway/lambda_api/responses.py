"""Responses of the Lambda API in JSON."""

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response

_MEDIA_TYPE: Final = "application/json"
_encoder: Final = msgspec.json.Encoder()


def json_response(
    body: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with this body."""
    return Response(
        _encoder.encode(body), status_code=status, headers=headers, media_type=_MEDIA_TYPE
    )


def encoded(value: Mapping[str, object]) -> bytes:
    """Return the JSON of a part of a response."""
    return _encoder.encode(value)
