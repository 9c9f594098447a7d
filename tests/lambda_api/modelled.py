"""Answers held against the service model inside botocore, member by member.

botocore itself is forgiving: it reads what it knows and passes over the rest.
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
    """Let every answer that the client gets be checked; a wrong one raises AssertionError."""
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
    given = json.loads(body)
    _check_structure(shape, given, shape.name, absent=frozenset(placed))


def _check_error(errors: Any, code: str, status: int, body: Any) -> None:
    if code in _COMMON:
        return
    shape = errors[code]
    wanted = shape.metadata["error"]["httpStatusCode"]
    assert status in (wanted, 503 if code == "ServiceException" else wanted), (code, status)
    absent = {name for name, each in shape.members.items() if "location" in each.serialization}
    _check_structure(shape, body, code, absent=frozenset(absent))
    assert any(body.get(name) for name in ("Message", "message")), body


def _check_structure(
    shape: Any, given: Any, where: str, absent: frozenset[str] = frozenset()
) -> None:
    assert isinstance(given, dict), (where, given)
    names = {
        member.serialization.get("name", name): member
        for name, member in shape.members.items()
        if name not in absent
    }
    assert given.keys() <= names.keys(), (where, given.keys() - names.keys())
    missing = {*shape.required_members} - given.keys() - absent
    assert not missing, (where, missing)
    members = cast("dict[str, Any]", given)
    for name, value in members.items():
        _check_value(names[name], value, f"{where}.{name}")


def _check_value(shape: Any, given: Any, where: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        _check_structure(shape, given, where)
    elif kind == "list":
        assert isinstance(given, list), (where, given)
        for number, each in enumerate(cast("Sequence[Any]", given)):
            _check_value(shape.member, each, f"{where}[{number}]")
    elif kind == "map":
        assert isinstance(given, dict), (where, given)
    elif kind == "string":
        _check_text(shape, given, where)
    elif kind == "boolean":
        assert isinstance(given, bool), (where, given)
    elif kind == "timestamp":
        assert isinstance(given, int | float), (where, given)
        assert not isinstance(given, bool), (where, given)
        assert 1_500_000_000 < given < 260_000_000_000, (where, given)
    elif kind in ("integer", "long"):
        assert type(given) is int, (where, given)
        limits = shape.metadata
        assert limits.get("min", given) <= given <= limits.get("max", given), (where, given)
    else:
        raise AssertionError((where, kind))


def _check_text(shape: Any, given: Any, where: str) -> None:
    assert isinstance(given, str), (where, given)
    if shape.enum:
        assert given in shape.enum, (where, given)
    if shape.name in _ARNS:
        assert _ARN.fullmatch(given), (where, given)
        return
    limits = shape.metadata
    if "pattern" in limits:
        assert re.fullmatch(limits["pattern"], given), (where, given[:200])
    assert limits.get("min", 0) <= len(given) <= limits.get("max", len(given)), (where, len(given))
