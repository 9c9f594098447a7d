"""Checks of answers against the service model inside botocore, member by member.

botocore itself is forgiving: it reads the members it knows and ignores the rest.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, cast

# Partition and place of our ARNs are our own; the rest of these patterns is checked elsewhere.
_ARNS: Final = frozenset({"DurableExecutionArn", "NameSpacedFunctionArn"})
_ARN: Final = re.compile(
    r"arn:perdure:lambda:[a-z0-9-]+:000000000000:function:[A-Za-z0-9_-]+(:\$LATEST)?"
    r"(/durable-execution/[A-Za-z0-9_-]{1,64}/[0-9a-f]{32})?"
)
# Those that every signed API of AWS has, and whose shapes no service model holds.
_COMMON: Final = frozenset(
    {
        *("AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException"),
        *("IncompleteSignatureException", "MissingAuthenticationTokenException"),
        "UnknownOperationException",
    }
)


def hold_to_model(client: Any) -> None:
    """Check every answer that the client receives; a wrong one raises AssertionError."""
    model = client.meta.service_model
    errors = {shape.error_code: shape for shape in model.error_shapes}

    def check(http_response: Any, model: Any, **_: Any) -> None:
        status, headers = http_response.status_code, http_response.headers
        assert re.fullmatch(r"[0-9a-f-]{32,36}", headers["x-amzn-RequestId"]), headers
        if status >= 300:
            code = headers["x-amzn-ErrorType"]
            _check_error(errors, code, status, json.loads(http_response.content))
            return
        expected = model.http.get("responseCode", 200)
        assert status == expected or model.name == "Invoke", (model.name, status)
        # A stream is the caller's to read.
        body = b"" if model.has_streaming_output else http_response.content
        _check_answer(model.output_shape, headers, body)

    client.meta.events.register("after-call.lambda", check)


def _check_answer(shape: Any, headers: Any, body: bytes) -> None:
    if shape is None:
        assert body in (b"", b"{}"), body
        return
    placed = {
        name: member for name, member in shape.members.items() if "location" in member.serialization
    }
    for member in placed.values():
        name = member.serialization.get("locationName", "")
        if member.serialization["location"] == "header" and name in headers:
            _check_value(member, headers[name], name)
    if "payload" in shape.serialization:
        return
    assert headers["content-type"] == "application/json"
    value = json.loads(body)
    _check_structure(shape, value, shape.name, absent=frozenset(placed))


def _check_error(errors: Any, code: str, status: int, body: Any) -> None:
    if code in _COMMON:
        return
    shape = errors[code]
    status_expected = shape.metadata["error"]["httpStatusCode"]
    assert status in (status_expected, 503 if code == "ServiceException" else status_expected), (
        code,
        status,
    )
    absent = {name for name, each in shape.members.items() if "location" in each.serialization}
    _check_structure(shape, body, code, absent=frozenset(absent))
    assert any(body.get(name) for name in ("Message", "message")), body


def _check_structure(
    shape: Any, value: Any, where: str, absent: frozenset[str] = frozenset()
) -> None:
    assert isinstance(value, dict), (where, value)
    names = {
        member.serialization.get("name", name): member
        for name, member in shape.members.items()
        if name not in absent
    }
    assert value.keys() <= names.keys(), (where, value.keys() - names.keys())
    missing = {*shape.required_members} - value.keys() - absent
    assert not missing, (where, missing)
    members = cast("dict[str, Any]", value)
    for name, each in members.items():
        _check_value(names[name], each, f"{where}.{name}")


def _check_value(shape: Any, value: Any, where: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        _check_structure(shape, value, where)
    elif kind == "list":
        assert isinstance(value, list), (where, value)
        for number, each in enumerate(cast("Sequence[Any]", value)):
            _check_value(shape.member, each, f"{where}[{number}]")
    elif kind == "map":
        assert isinstance(value, dict), (where, value)
    elif kind == "string":
        _check_text(shape, value, where)
    elif kind == "boolean":
        assert isinstance(value, bool), (where, value)
    elif kind == "timestamp":
        assert isinstance(value, int | float), (where, value)
        assert not isinstance(value, bool), (where, value)
        assert 1_500_000_000 < value < 260_000_000_000, (where, value)
    elif kind in ("integer", "long"):
        assert type(value) is int, (where, value)
        limits = shape.metadata
        assert limits.get("min", value) <= value <= limits.get("max", value), (where, value)
    else:
        raise AssertionError((where, kind))


def _check_text(shape: Any, value: Any, where: str) -> None:
    assert isinstance(value, str), (where, value)
    if shape.enum:
        assert value in shape.enum, (where, value)
    if shape.name in _ARNS:
        assert _ARN.fullmatch(value), (where, value)
        return
    limits = shape.metadata
    if "pattern" in limits:
        assert re.fullmatch(limits["pattern"], value), (where, value[:200])
    assert limits.get("min", 0) <= len(value) <= limits.get("max", len(value)), (where, len(value))
