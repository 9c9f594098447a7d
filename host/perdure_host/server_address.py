"""What is wrong with the address of a server, in words: before a connection is tried, and after.

gRPC resolves almost any text as an address and tries for ever what can never work; its messages are
about its own code. Must stay true: only what no retry can mend is `permanent`.
"""

import re
import socket
import ssl
from typing import Final

import msgspec

from perdure_host.errors import SettingsError

# The reason of an error about a connection that could not be made.
NO_CONNECTION: Final = "no_connection"

_PORT_MAX: Final = 65_535
_SCHEME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
# gRPC's words for what happened before anything was sent.
_NOT_CONNECTED: Final = ("failed to connect to all addresses", "errors resolving")
_PROBE_S_MAX: Final = 2.0


class ConnectionProblem(msgspec.Struct, frozen=True):
    """Why there is no connection. `permanent`: trying again does not help."""

    description: str
    permanent: bool


_CLOSED: Final = "Socket closed"
_RESET: Final = "Connection reset by peer"
_CLOSED_AT_ONCE: Final = (
    "the connection is closed at once: it may need TLS, --tls-ca, or --tls-cert and --tls-key"
)
_SILENT: Final = "something listens there, but does not answer as a server of gRPC does"
_PROBLEMS: Final[tuple[tuple[str, str, bool], ...]] = (
    (
        "WRONG_VERSION_NUMBER",
        "the port does not speak TLS: leave out the options --tls-…, or name another port",
        True,
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the server's certificate is not signed by an authority of --tls-ca, or has lapsed",
        True,
    ),
    (
        "certificate signature failure",
        "the server's certificate is not signed by an authority of --tls-ca",
        True,
    ),
    (
        "Hostname Verification Check failed",
        "the server's certificate is for another host: use the name that is in it",
        True,
    ),
    (
        "Failed parsing HTTP/2",
        "the port does not speak gRPC: use the server's gRPC port, 7600 by default",
        True,
    ),
    (
        "missing selected ALPN property",
        "the port speaks TLS, but not gRPC: use the server's gRPC port, 7600 by default",
        True,
    ),
    (_CLOSED, _CLOSED_AT_ONCE, False),
    (_RESET, _CLOSED_AT_ONCE, False),
    ("before receiving SETTINGS", _SILENT, False),
    ("Handshake read failed", _SILENT, False),
    ("Connection refused", "nothing listens there", False),
    ("address lookup failed", "the name of the host is not known", False),
    ("Domain name not found", "the name of the host is not known", False),
)
_SPEAKS_TLS: Final = (
    "the port speaks TLS: name the authority that signed its certificate with --tls-ca"
)
_IS_POSTGRESQL: Final = (
    "the port is that of a PostgreSQL: use the server's gRPC port, 7600 by default"
)
_NEEDS_CERTIFICATE: Final = (
    "the server asks for a client certificate: name one with --tls-cert and --tls-key"
)
_OTHER_CERTIFICATE: Final = (
    "the server does not accept the client certificate of --tls-cert: it trusts other authorities"
)
# PostgreSQL answers the request for TLS with one letter: yes or no.
_POSTGRESQL_TLS_REQUEST: Final = bytes.fromhex("0000000804d2162f")


def check_server_address(text: str) -> None:
    """Raise SettingsError unless the text is HOST:PORT."""
    problem = _problem(text)
    if problem is not None:
        raise SettingsError(f"the address of the server must be HOST:PORT, got {text!r}. {problem}")


def connection_problem(details: str) -> ConnectionProblem | None:
    """Return what the details of a failed call say about the connection; None for other failures.

    They are those of gRPC.
    """
    if not details.startswith(_NOT_CONNECTED):
        return None
    for sign, description, permanent in _PROBLEMS:
        if sign in details:
            return ConnectionProblem(description, permanent)
    return None


def hidden_problem(
    details: str, server: str, *, with_tls: bool, tls_cert: str | None, tls_key: str | None
) -> ConnectionProblem | None:
    """Return why a port closes connections at once, if a retry cannot help; the port is asked.

    Waits up to 4 s.
    """
    is_closed = _CLOSED in details or _RESET in details
    if not details.startswith(_NOT_CONNECTED) or not is_closed:
        return None
    if with_tls:
        if not _refuses_certificate(server, tls_cert, tls_key):
            return None
        description = _NEEDS_CERTIFICATE if tls_cert is None else _OTHER_CERTIFICATE
    elif _speaks_tls(server):
        description = _SPEAKS_TLS
    elif _is_postgresql(server):
        description = _IS_POSTGRESQL
    else:
        return None
    return ConnectionProblem(description, permanent=True)


def _problem(text: str) -> str | None:
    if scheme := _SCHEME.match(text):
        rest = text[scheme.end() :].split("/", maxsplit=1)[0]
        return f"Leave out {scheme.group()!r}: {_with_port(rest)}; --tls-ca turns TLS on."
    if any(each in text for each in ",; \t\n"):
        return "Name one server; of a pair, the one that serves."
    if "/" in text or "@" in text or "?" in text:
        return "Leave out everything but the host and the port."
    host, colon, port = text.rpartition(":")
    if not colon:
        return f"Add the port: {_with_port(text)}."
    if not host:
        return f"Add the host: 127.0.0.1:{port}."
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return "Put brackets around an IPv6 address, as in [::1]:7600."
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= _PORT_MAX):
        return f"The port is a number from 1 to {_PORT_MAX:,}."
    return None


def _with_port(host: str) -> str:
    return host if ":" in host else f"{host}:7600"


def _speaks_tls(server: str) -> bool:
    """Return whether a port answers a TLS handshake; whose certificate it has does not matter."""
    try:
        with _connected(server) as plain, _tls_context().wrap_socket(plain):
            return True
    except OSError:
        return False


def _is_postgresql(server: str) -> bool:
    try:
        with _connected(server) as plain:
            plain.sendall(_POSTGRESQL_TLS_REQUEST)
            return plain.recv(1) in (b"S", b"N")
    except OSError:
        return False


def _refuses_certificate(server: str, certificate: str | None, key: str | None) -> bool:
    """Return whether a port that speaks TLS does not want this client certificate, or none.

    With TLS 1.3 a server refuses it after the handshake, as if it went away; before, within.
    """
    if not _speaks_tls(server):
        return False
    context = _tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        plain = _connected(server)
    except OSError:
        return False
    try:
        with plain, context.wrap_socket(plain):
            return False
    except TimeoutError:
        return False
    except ssl.SSLError as error:
        return "PROTOCOL" not in str(error.reason)
    except OSError:
        return True


def _connected(server: str) -> socket.socket:
    host, _, port = server.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), _PROBE_S_MAX)


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context
