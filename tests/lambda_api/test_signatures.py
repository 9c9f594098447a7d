"""Signatures: requests signed by botocore are accepted, and no others."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from perdure_gateway.lambda_api.signatures import (
    SKEW_S_MAX,
    SignedRequest,
    canonical_query,
    check_signature,
    parse_signature,
)
from perdure_host.access_keys import AccessKey
from perdure_host.lambda_json.failures import Code, LambdaError
from tests.lambda_api.serving import UNKNOWN_ARN

KEY = AccessKey(id="ORDERS", secret="0123456789abcdef", actions=("*",))
PATH = f"/2025-12-01/durable-executions/{quote(UNKNOWN_ARN, safe='')}/stop"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
segments = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: text not in {".", ".."}
)
paths = st.lists(segments, min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(quote(part, safe="") for part in parts)
)
queries = st.lists(st.tuples(texts, texts), max_size=4)
headers = st.dictionaries(
    st.from_regex(r"x-amz-[a-z]{1,8}|accept|content-type", fullmatch=True).filter(
        lambda name: name != "x-amz-date"
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    max_size=3,
)


def signed(
    *,
    method: str = "POST",
    path: str = PATH,
    query: list[tuple[str, str]] | None = None,
    sent: dict[str, str] | None = None,
    body: bytes = b"{}",
    service: str = "lambda",
    region: str = "eu-north-1",
) -> SignedRequest:
    """Return a request signed by botocore, as it goes over the wire."""
    pairs = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query or []
    )
    url = f"http://127.0.0.1:7601{path}" + (f"?{pairs}" if pairs else "")
    request = AWSRequest(method=method, url=url, headers=sent or {}, data=body)
    signer: Any = SigV4Auth(Credentials(KEY.id, KEY.secret), service, region)
    signer.add_auth(request)
    given_headers: Any = request.headers
    return SignedRequest(
        method=method,
        raw_path=path.encode(),
        raw_query=pairs.encode(),
        headers=[
            (b"host", b"127.0.0.1:7601"),
            *((name.lower().encode(), value.encode()) for name, value in given_headers.items()),
        ],
    )


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000)


def check(request: SignedRequest, body: bytes = b"{}", at_ms: int | None = None) -> None:
    claim = parse_signature(request, now_ms() if at_ms is None else at_ms)
    if claim.key_id != KEY.id:
        raise LambdaError(Code.CLIENT_UNKNOWN, claim.key_id)
    check_signature(request, claim, KEY, body)


def code(request: SignedRequest, body: bytes = b"{}", at_ms: int | None = None) -> Code:
    with pytest.raises(LambdaError) as refusal:
        check(request, body, at_ms)
    return refusal.value.code


def with_header(request: SignedRequest, name: bytes, value: bytes | None) -> SignedRequest:
    """Return the request with one header replaced, or without it."""
    others = [pair for pair in request.headers if pair[0] != name]
    more = [] if value is None else [(name, value)]
    return rebuilt(request, headers=[*others, *more])


def rebuilt(request: SignedRequest, **fields: Any) -> SignedRequest:
    known = {name: getattr(request, name) for name in request.__struct_fields__}
    return SignedRequest(**{**known, **fields})


@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    path=paths,
    query=queries,
    sent=headers,
    body=st.binary(max_size=40),
)
def test_whatever_botocore_signs_is_accepted(
    method: str, path: str, query: list[tuple[str, str]], sent: dict[str, str], body: bytes
) -> None:
    check(signed(method=method, path=path, query=query, sent=sent, body=body), body)


@given(data=st.data(), path=paths, query=queries.filter(bool), body=st.binary(min_size=1))
def test_no_byte_of_a_signed_request_may_change(
    data: st.DataObject, path: str, query: list[tuple[str, str]], body: bytes
) -> None:
    request = signed(path=path, query=query, sent={"X-Amz-Tenant-Id": "tenant"}, body=body)

    def bent(original: bytes) -> bytes:
        at = data.draw(st.integers(0, len(original) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != original[at]))
        return original[:at] + bytes([other]) + original[at + 1 :]

    part = data.draw(st.sampled_from(["method", "path", "query", "body", "header"]))
    match part:
        case "method":
            request = rebuilt(request, method=data.draw(st.sampled_from(["GET", "POSS", "post"])))
        case "path":
            request = rebuilt(request, raw_path=bent(request.raw_path))
        case "query":
            changed = bent(request.raw_query)
            if canonical_query(changed) == canonical_query(request.raw_query):
                # Another spelling, with the same meaning to us.
                assert meaning(changed) == meaning(request.raw_query)
                return
            request = rebuilt(request, raw_query=changed)
        case "body":
            body = bent(body)
        case _:
            name, value = data.draw(st.sampled_from(request.headers))
            changed = bent(value)
            if changed.split() == value.split():
                return
            request = with_header(request, name, changed)
    assert code(request, body) in {
        Code.SIGNATURE_INVALID,
        Code.SIGNATURE_INCOMPLETE,
        Code.CLIENT_UNKNOWN,
    }


def meaning(query: bytes) -> list[tuple[bytes, bytes]]:
    pairs = [pair.partition(b"=") for pair in query.replace(b"+", b" ").split(b"&") if pair]
    return sorted((unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs)


def test_a_plus_is_not_signed_as_what_it_is_not_read_as() -> None:
    request = signed(query=[("Marker", "a+b")])
    assert request.raw_query == b"Marker=a%2Bb"
    check(request)
    assert code(rebuilt(request, raw_query=b"Marker=a+b")) is Code.SIGNATURE_INVALID


@pytest.mark.parametrize("path", ["/2025-12-01//x", "/2025-12-01/./x", "/2025-12-01/y/../x"])
def test_a_path_that_was_tidied_before_it_was_signed_is_no_signed_path(path: str) -> None:
    assert code(signed(path=path)) is Code.SIGNATURE_INVALID


@pytest.mark.parametrize("late_s", [SKEW_S_MAX - 10, 10 - SKEW_S_MAX])
def test_clocks_may_differ_by_minutes(late_s: int) -> None:
    check(signed(), at_ms=now_ms() + late_s * 1_000)


@pytest.mark.parametrize(
    ("late_s", "message"),
    [(SKEW_S_MAX + 10, "signature expired"), (-SKEW_S_MAX - 10, "signature not yet current")],
)
def test_clocks_may_not_differ_by_more(late_s: int, message: str) -> None:
    with pytest.raises(LambdaError, match=message) as refusal:
        check(signed(), at_ms=now_ms() + late_s * 1_000)
    assert refusal.value.code is Code.SIGNATURE_INVALID


def test_a_date_header_does_as_well() -> None:
    request = signed(sent={"Date": "now"})
    assert request.value("x-amz-date") is None
    check(request)
    later = datetime.now(UTC) + timedelta(seconds=60)
    other = with_header(request, b"date", format_datetime(later, usegmt=True).encode())
    assert code(other) is Code.SIGNATURE_INVALID


def test_the_signature_is_for_this_service_alone() -> None:
    assert code(signed(service="s3")) is Code.SIGNATURE_INVALID
    check(signed(region="us-gov-west-1"))


@pytest.mark.parametrize("header", ["x-amz-durable-execution-name", "x-amz-tenant-id"])
def test_what_says_what_to_do_has_to_be_signed(header: str) -> None:
    assert code(with_header(signed(), header.encode(), b"other")) is Code.SIGNATURE_INVALID


def test_what_is_said_to_be_signed_has_to_be_there() -> None:
    request = signed(sent={"X-Amz-Tenant-Id": "t"})
    assert code(with_header(request, b"x-amz-tenant-id", None)) is Code.SIGNATURE_INVALID


def test_a_second_value_of_a_signed_header_is_noticed() -> None:
    request = signed(sent={"X-Amz-Tenant-Id": "t"})
    twice = rebuilt(request, headers=[*request.headers, (b"x-amz-tenant-id", b"u")])
    assert code(twice) is Code.SIGNATURE_INVALID


@pytest.mark.parametrize("given_hash", ["UNSIGNED-PAYLOAD", "0" * 64, "é", ""])
def test_a_body_is_signed_by_its_own_hash(given_hash: str) -> None:
    request = signed(sent={"X-Amz-Content-SHA256": given_hash})
    assert code(request) is Code.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"AWS4-ECDSA-P256-SHA256 Credential=a",
        b"AWS4-HMAC-SHA256 Credential=ORDERS/20260101/eu/lambda/aws4_request, SignedHeaders=host",
        b"AWS4-HMAC-SHA256 Credential=ORDERS, SignedHeaders=host, Signature=" + b"0" * 64,
        b"Bearer token",
    ],
)
def test_a_header_of_another_form_is_incomplete(header: bytes) -> None:
    assert code(with_header(signed(), b"authorization", header)) is Code.SIGNATURE_INCOMPLETE


@pytest.mark.parametrize("date", [b"20260131", b"20261331T000000Z", b"", b"2026-01-31T00:00:00Z"])
def test_an_invalid_date_is_reported(date: bytes) -> None:
    request = with_header(signed(), b"x-amz-date", date)
    assert code(request) in {Code.SIGNATURE_INCOMPLETE, Code.SIGNATURE_INVALID}


def test_a_request_without_a_date_is_incomplete() -> None:
    assert code(with_header(signed(), b"x-amz-date", None)) is Code.SIGNATURE_INCOMPLETE


@pytest.mark.parametrize("names", [b"host;host", b"x-amz-date;host", b"host;"])
def test_signed_headers_are_sorted_and_named_once(names: bytes) -> None:
    request = signed()
    header = request.value("authorization") or ""
    other = header.encode().replace(b"SignedHeaders=host;x-amz-date", b"SignedHeaders=" + names)
    assert code(with_header(request, b"authorization", other)) is Code.SIGNATURE_INCOMPLETE
