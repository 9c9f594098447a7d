"""Credentials of a server: its TLS certificates.

Must stay true: files are read and checked once, at start, so that a running server has credentials
that work.
"""

import contextlib
import ssl
from pathlib import Path
from typing import Any

import grpc
import msgspec

from perdure_host.errors import SettingsError


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files. With `authorities`, callers must present a certificate that these have signed."""

    certificate: str
    key: str
    authorities: str | None = None


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


def certificate_names(files: TlsFiles | None) -> list[str]:
    """Return the names and addresses that a server's certificate is for; none without TLS.

    The standard library reads a certificate in a handshake only, so one is made in memory.
    """
    if files is None:
        return []
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.certificate, files.key)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    try:
        client_context.load_verify_locations(files.certificate)
        for end in (client, server, client):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
        certificate: dict[str, Any] = client.getpeercert() or {}
    except (ssl.SSLError, ValueError):
        return []  # expired, for example: its clients will say so
    names: list[tuple[str, str]] = [*certificate.get("subjectAltName", ())]
    return [value for kind, value in names if kind in ("DNS", "IP Address")]


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
