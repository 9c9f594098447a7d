"""What is wrong with the address of a server, in words: before a connection is tried, and after.

gRPC resolves almost any text as an address and tries for ever what can never work; its messages are
about its own code. Must stay true: only what no retry can mend is `permanent`.
"""

import contextlib
import re
import socket
import ssl
from typing import Final

import msgspec

from perdure_host.errors import SettingsError

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
        _CLOSED,
        "the connection is closed at once: it may need TLS, --tls-ca, or --tls-cert and --tls-key",
        False,
    ),
    ("Connection refused", "nothing listens there", False),
    ("address lookup failed", "the name of the host is not known", False),
    ("Domain name not found", "the name of the host is not known", False),
)
_SPEAKS_TLS: Final = (
    "the port speaks TLS: name the authority that signed its certificate with --tls-ca"
)


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


def tls_problem(details: str, server: str, *, with_tls: bool) -> ConnectionProblem | None:
    """Return the problem if a port that closes plain connections speaks TLS; it is asked.

    Waits up to 2 s.
    """
    closed = details.startswith(_NOT_CONNECTED) and _CLOSED in details
    if with_tls or not closed or not _speaks_tls(server):
        return None
    return ConnectionProblem(_SPEAKS_TLS, permanent=True)


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
    host, _, port = server.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError):
        address = (host.strip("[]"), int(port))
        with socket.create_connection(address, _PROBE_S_MAX) as plain, context.wrap_socket(plain):
            return True
    return False
