"""Signature Version 4: the parsing and verification of signed requests.

Source: "Create a signed AWS API request" of the IAM user guide. Paths are signed as they are on the
wire, percent-encoded once more, as for every service but S3; botocore does the same.

Must stay true: everything that an operation reads is signed. Queries are therefore made canonical
from their meaning to the operations, headers that begin with `x-amz-` must be among the signed
ones, paths are not normalized, and the hash of the body is always computed here.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

from perdure_host.access_keys import AccessKey
from perdure_host.lambda_json.failures import Code, LambdaError

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "lambda"
# The same as at AWS.
SKEW_S_MAX: Final = 300

_TERMINATOR: Final = "aws4_request"
_DATE_FORM: Final = "%Y%m%dT%H%M%SZ"
_DATE: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_HEADER: Final = re.compile(
    rf"{ALGORITHM} +Credential=(?P<key_id>[^/,\s]+)/(?P<date>\d{{8}})/(?P<region>[A-Za-z0-9-]+)"
    r"/(?P<service>[^/,\s]+)/(?P<terminator>[^/,\s]+), *SignedHeaders=(?P<headers>[^,\s]+)"
    r", *Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)
_UNSIGNED: Final = ("UNSIGNED-", "STREAMING-")


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as received; names of headers are in lower case."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: Sequence[tuple[bytes, bytes]]

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value.decode("latin-1") for key, value in self.headers if key == name.encode()]

    def value(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next(iter(self.values(name)), None)


class SignatureClaim(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a request about its signature; only `check_signature` verifies them."""

    key_id: str
    date: str
    region: str
    signed_headers: tuple[str, ...]
    signature: str
    signed_at: str


def parse_signature(request: SignedRequest, now_ms: int) -> SignatureClaim:
    """Parse the claims about the signature: its key, time and scope. Raises LambdaError."""
    found = _HEADER.fullmatch(request.value("authorization") or "")
    if found is None:
        raise LambdaError(
            Code.SIGNATURE_INCOMPLETE,
            f"the authorization header must have the form '{ALGORITHM} Credential=KEY/DATE/REGION/"
            f"{SERVICE}/{_TERMINATOR}, SignedHeaders=NAMES, Signature=HEX'",
        )
    signed_at = _signing_time(request)
    claim = SignatureClaim(
        key_id=found["key_id"],
        date=found["date"],
        region=found["region"],
        signed_headers=tuple(found["headers"].split(";")),
        signature=found["signature"],
        signed_at=signed_at,
    )
    _check_scope(claim, found["service"], found["terminator"])
    _check_age(signed_at, now_ms)
    _check_headers(request, claim)
    return claim


def check_signature(
    request: SignedRequest, claim: SignatureClaim, key: AccessKey, body: bytes
) -> None:
    """Raise LambdaError unless the key has signed exactly this request."""
    body_hash = hashlib.sha256(body).hexdigest()
    _check_body_hash(request, body_hash)
    _check_signed(request, claim, key, body_hash)


def check_before_body(request: SignedRequest, claim: SignatureClaim, key: AccessKey) -> bool:
    """Return whether the request names the hash of its body, and so is checked without it.

    Raises LambdaError unless the key has signed it. The body has to be held against the hash.
    """
    body_hash = request.value("x-amz-content-sha256")
    if body_hash is None or body_hash.startswith(_UNSIGNED):
        return False
    _check_signed(request, claim, key, body_hash)
    return True


def _check_signed(
    request: SignedRequest, claim: SignatureClaim, key: AccessKey, body_hash: str
) -> None:
    # Only headers may hold more than ASCII; latin-1 restores the bytes as received.
    canonical = _canonical_request(request, claim, body_hash).encode("latin-1")
    signed = hashlib.sha256(canonical).hexdigest()
    scope = f"{claim.date}/{claim.region}/{SERVICE}/{_TERMINATOR}"
    text = f"{ALGORITHM}\n{claim.signed_at}\n{scope}\n{signed}"
    derived = f"AWS4{key.secret}".encode()
    for part in (claim.date, claim.region, SERVICE, _TERMINATOR):
        derived = _mac(derived, part)
    if not hmac.compare_digest(_mac(derived, text).hex(), claim.signature):
        raise _invalid(
            "the request signature we calculated does not match the one that you provided: check"
            " the secret access key, and that nothing on the way changes requests"
        )


def canonical_query(raw_query: bytes) -> str:
    """Return the query in the canonical form that is signed."""
    pairs: list[tuple[str, str]] = []
    for pair in filter(None, raw_query.split(b"&")):
        name, _, value = pair.partition(b"=")
        pairs.append((_recoded(name), _recoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _canonical_request(request: SignedRequest, claim: SignatureClaim, body_hash: str) -> str:
    headers = [
        f"{name}:{','.join(' '.join(value.split()) for value in request.values(name))}\n"
        for name in claim.signed_headers
    ]
    return "\n".join(
        (
            request.method,
            quote(request.raw_path or b"/", safe="/~"),
            canonical_query(request.raw_query),
            "".join(headers),
            ";".join(claim.signed_headers),
            body_hash,
        )
    )


def _recoded(part: bytes) -> str:
    # A plus is a space in the queries of forms, which is how the operations read them.
    return quote(unquote_to_bytes(part.replace(b"+", b" ")), safe="~")


def _signing_time(request: SignedRequest) -> str:
    """Return the time of the signature, in the form that is signed."""
    date = request.value("x-amz-date")
    if date is not None:
        if _DATE.fullmatch(date) is None:
            raise LambdaError(
                Code.SIGNATURE_INCOMPLETE, "the header x-amz-date must read like 20260131T235959Z"
            )
        return date
    try:
        return parsedate_to_datetime(request.value("date") or "").strftime(_DATE_FORM)
    except ValueError:
        raise LambdaError(
            Code.SIGNATURE_INCOMPLETE, "a signed request needs a valid header x-amz-date or date"
        ) from None


def _check_scope(claim: SignatureClaim, service: str, terminator: str) -> None:
    """Raise LambdaError unless the scope is this service. Any region is accepted."""
    if service != SERVICE:
        raise _invalid(f"credential should be scoped to correct service: '{SERVICE}'")
    if terminator != _TERMINATOR:
        raise _invalid(f"credential should be scoped with a valid terminator: '{_TERMINATOR}'")
    if claim.date != claim.signed_at[:8]:
        raise _invalid("the date in the credential scope is not the date of the request")


def _check_age(signed_at: str, now_ms: int) -> None:
    try:
        signed_s = datetime.strptime(signed_at, _DATE_FORM).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise LambdaError(Code.SIGNATURE_INCOMPLETE, "the header x-amz-date is no time") from None
    now = datetime.fromtimestamp(now_ms / 1_000, UTC).strftime(_DATE_FORM)
    if signed_s < now_ms / 1_000 - SKEW_S_MAX:
        raise _invalid(f"signature expired: it is of {signed_at}, and now it is {now}")
    if signed_s > now_ms / 1_000 + SKEW_S_MAX:
        raise _invalid(f"signature not yet current: it is of {signed_at}, and now it is {now}")


def _check_headers(request: SignedRequest, claim: SignatureClaim) -> None:
    signed = claim.signed_headers
    if list(signed) != sorted({*signed}):
        raise LambdaError(Code.SIGNATURE_INCOMPLETE, "SignedHeaders must be sorted, each name once")
    present = {name.decode("latin-1") for name, _ in request.headers}
    needed = {name for name in present if name.startswith("x-amz-")} | {"host"}
    for name in sorted(needed.difference(signed)):
        raise _invalid(f"the header {name} was not signed")
    for name in sorted({*signed} - present):
        raise _invalid(f"the header {name} is said to be signed and is missing")


def _check_body_hash(request: SignedRequest, body_hash: str) -> None:
    claimed = request.value("x-amz-content-sha256")
    if claimed is None:
        return
    if claimed.startswith(_UNSIGNED):
        raise _invalid("the body has to be signed: x-amz-content-sha256 must be its SHA-256")
    if not hmac.compare_digest(claimed.encode(), body_hash.encode()):
        raise _invalid("the header x-amz-content-sha256 is not the SHA-256 of the body")


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _invalid(message: str) -> LambdaError:
    return LambdaError(Code.SIGNATURE_INVALID, message)
