"""Credentials of a server: bearer tokens of callers, and TLS certificates.

Must stay true: files are read and checked once, at start, so that a running server has credentials
that work; and tokens are compared in constant time.
"""

import ssl
from collections.abc import Sequence
from hmac import compare_digest
from pathlib import Path
from typing import Final

import grpc
import msgspec

from perdure_host.errors import SettingsError

TOKENS_MAX: Final = 100
_SCHEME: Final = "bearer "


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files. With `authorities`, callers must present a certificate that these have signed."""

    certificate: str
    key: str
    authorities: str | None = None


class Tokens:
    """The bearer tokens that a server accepts."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = [token.encode() for token in tokens]

    def problem(self, header: str | bytes | None) -> str | None:
        """Return why an `authorization` header is rejected, or None if it is accepted."""
        if header is None:
            return "a bearer token is required: send the header 'authorization: Bearer TOKEN'"
        text = header.decode("latin-1") if isinstance(header, bytes) else header
        if not text.lower().startswith(_SCHEME):
            return "the authorization header must have the form 'Bearer TOKEN'"
        received = text[len(_SCHEME) :].strip().encode()
        # No early exit: the time must not reveal which token it was, nor how much of it was right.
        matches = [compare_digest(received, token) for token in self._tokens]
        return None if any(matches) else "the bearer token is not one of this server's"


def read_tokens(path: str) -> Tokens:
    """Read a token file: one token per line, comment lines begin with `#`. Raises SettingsError."""
    lines = [line.strip() for line in _read_text("token file", path).splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise SettingsError(f"the token file {path} contains no token")
    if len(tokens) > TOKENS_MAX:
        raise SettingsError(
            f"the token file {path} may contain at most {TOKENS_MAX} tokens, got {len(tokens)}"
        )
    for number, token in enumerate(tokens, 1):
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise SettingsError(
                f"the token file {path}: token {number} must be ASCII without spaces"
            )
    return Tokens(tokens)


def tls_files(certificate: str | None, key: str | None, authorities: str | None) -> TlsFiles | None:
    """Check the files that the options name and return them; return None without TLS.

    Raises SettingsError.
    """
    if certificate is None and key is None and authorities is None:
        return None
    if certificate is None or key is None:
        missing = "--tls-key" if certificate is not None else "--tls-cert"
        raise SettingsError(f"TLS needs --tls-cert and --tls-key: {missing} is missing")
    files = TlsFiles(certificate, key, authorities)
    tls_context(files)
    return files


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the SSL context of an HTTP port. Raises SettingsError for files that do not work."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for what, path in (("certificate", files.certificate), ("key", files.key)):
        _read_text(f"TLS {what}", path)
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as error:
        pair = f"{files.certificate} and {files.key}"
        raise SettingsError(f"the TLS certificate and key {pair} do not work: {error}") from error
    if files.authorities is not None:
        _require_clients(context, files.authorities)
    return context


def grpc_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return the credentials of a gRPC port."""
    authorities = files.authorities
    return grpc.ssl_server_credentials(
        [(Path(files.key).read_bytes(), Path(files.certificate).read_bytes())],
        None if authorities is None else Path(authorities).read_bytes(),
        require_client_auth=authorities is not None,
    )


def _require_clients(context: ssl.SSLContext, authorities: str) -> None:
    _read_text("TLS authorities", authorities)
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise SettingsError(
            f"the TLS authorities {authorities} do not work: {error.reason}"
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED


def _read_text(what: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the {what} {path} is not a text file") from error
