"""The names under which an HTTP port may be called, held against `Host` and `Origin`.

A page on evil.example whose name has come to mean 127.0.0.1 (DNS rebinding) reaches every port of
this machine with the reader's browser, past firewalls and as if it were the same origin. It cannot
choose what the browser writes into `Host`: its own name.

Must stay true: a name that the server was not given is refused on every path. An address instead of
a name is no such page; where `any_address` is asked for (health, metrics) each is accepted, so that
probes and scrapers which know only an address are answered.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from perdure_core.text import preview
from perdure_host.errors import SettingsError
from perdure_host.listen import is_loopback

ANY: Final = "*"
_SUB_NAMES: Final = "*."
_NAME: Final = re.compile(
    r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*"
)
_PORT: Final = re.compile(r":[0-9]{0,5}")


class HostNames:
    """The names of one port: loopback, its listen address, and those that it was given."""

    def __init__(
        self, listen_host: str, allowed: Sequence[str] = (), *, certified: Sequence[str] = ()
    ) -> None:
        """Read names, addresses, `*.NAME` for names below one, `*` for any. Raises SettingsError.

        Names are those of hosts, without ports. `certified` are those of the TLS certificate; what
        is no name among them is left out.
        """
        names = [_checked(name) for name in allowed]
        self._any = ANY in names
        names += [name for name in map(_plain, certified) if _is_name(name)]
        self._names = {_plain(listen_host), *names}
        self._ends = tuple([name[1:] for name in names if name.startswith(_SUB_NAMES)])

    def problem(
        self, host: str | None, origin: str | None, *, reached: str, any_address: bool = False
    ) -> str | None:
        """Return why the headers are refused, or None. `reached` is the local end's address.

        Without a host (HTTP/1.0) there is nothing that a browser sent.
        """
        if self._any:
            return None
        name = None if host is None else _name_of(host)
        if host is not None and not self._accepts(name, reached, any_address=any_address):
            return (
                f"this port is not called {preview(name or host)}. Call it by a name that it knows,"
                " or give it this one with --allowed-host"
            )
        if origin is not None and (host is None or not _same(origin, host)):
            return f"a page of {preview(origin)} may not call this port"
        return None

    def _accepts(self, name: str | None, reached: str, *, any_address: bool) -> bool:
        if name is None:
            return False
        if name in self._names or is_loopback(name) or name == _plain(reached):
            return True
        return (any_address and _is_address(name)) or name.endswith(self._ends)


def _checked(name: str) -> str:
    plain = _plain(name)
    if plain == ANY or _is_name(plain):
        return plain
    raise SettingsError(
        f"an allowed host must be a name, an address, *.NAME or *, got {preview(name)}."
        " Leave out scheme and port."
    )


def _is_name(text: str) -> bool:
    return _is_address(text) or _NAME.fullmatch(text) is not None


def _name_of(host: str) -> str | None:
    """Return the name in a `Host` header, without its port; None where there is none."""
    text = host.strip()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        is_right = bool(bracket) and _is_address(name)
    else:
        name, colon, port = text.partition(":")
        rest, is_right = colon + port, bool(name)
    if not is_right or (rest and _PORT.fullmatch(rest) is None):
        return None
    return _plain(name)


def _same(origin: str, host: str) -> bool:
    """Return whether an `Origin` header names the host, and the port, of a `Host` header."""
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        return False
    return place.lower() == host.strip().lower()


def _plain(name: str) -> str:
    text = name.strip().strip("[]").lower()
    if _is_address(text):
        return str(ipaddress.ip_address(text))
    return text.removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
