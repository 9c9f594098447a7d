"""Bearer tokens of callers, with names and roles, in a file that is read again when it changes.

A line of the file is a token alone, or a name, its roles and the token:

    # NAME      ROLES              TOKEN
    shop        client             5f0c…
    workers     worker,client      9d41…
    3b7e…

A token alone has the roles of clients and of workers, as every token had before there were roles,
except for handing the node over.

Must stay true: tokens are compared in constant time, and no message, log line or `repr` shows one;
a file that cannot be read as a whole changes nothing: the tokens before it stay valid.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Final

import msgspec

from perdure_core.text import preview
from perdure_host.access.file_version import file_version
from perdure_host.errors import SettingsError
from perdure_host.telemetry import open_log

TOKENS_MAX: Final = 100
NAME_CHARS_MAX: Final = 64
# How soon a changed file counts.
READ_AGAIN_S: Final = 1.0
_SCHEME: Final = "bearer "
_FIELDS: Final = 3

_log = open_log("perdure.audit")


class Role(StrEnum):
    """What the holder of a token is to a server."""

    CLIENT = "client"
    WORKER = "worker"
    OPERATOR = "operator"
    NODE = "node"


ROLES_OF_BARE_TOKENS: Final = frozenset({Role.CLIENT, Role.WORKER})


class Caller(msgspec.Struct, frozen=True):
    """The holder of a token, of which only a digest is kept."""

    name: str
    roles: frozenset[Role]
    digest: bytes

    def __repr__(self) -> str:
        """Return name and roles without the digest."""
        return f"Caller({self.name!r}, {', '.join(sorted(self.roles))})"

    def may_act_as(self, roles: Iterable[Role]) -> bool:
        """Return whether the caller has one of the roles."""
        return not self.roles.isdisjoint(roles)

    def problem(self, action: str, roles: Sequence[Role]) -> str:
        """Return why the caller may not do what needs one of the roles."""
        own, needed = ", ".join(sorted(self.roles)), " or ".join(roles)
        return f"the token {self.name!r} has the role {own}; {action} needs {needed}"


def bare_token(token: str, name: str = "token") -> Caller:
    """Return the holder of a token without a role of its own."""
    return Caller(name, ROLES_OF_BARE_TOKENS, _digest(token))


class Tokens:
    """The bearer tokens that a server accepts."""

    def __init__(
        self,
        tokens: Iterable[str | Caller],
        path: str | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """With a path, that file is read again when it has changed."""
        self._callers = [bare_token(each) if isinstance(each, str) else each for each in tokens]
        self._path = path
        self._now_s = now_s
        self._read_s = now_s()
        self._version = None if path is None else file_version(path)
        self._problem = ""
        # How often the tokens have changed.
        self.changes = 0

    def find(self, header: str | bytes | None) -> Caller | None:
        """Return the holder of the token in an `authorization` header; None if there is none."""
        self.refresh()
        # No early exit: the time must not reveal which token it was, nor how much of it was right.
        received = _digest(_token_in(header) or "")
        matches = [each for each in self._callers if compare_digest(received, each.digest)]
        return matches[0] if matches else None

    def holds(self, caller: Caller) -> bool:
        """Return whether the token of a caller is still valid, with the same roles."""
        held = (caller.digest, caller.roles)
        return any((each.digest, each.roles) == held for each in self._callers)

    def problem(self, header: str | bytes | None) -> str | None:
        """Return why an `authorization` header is rejected, or None if it is accepted."""
        if header is None:
            return "a bearer token is required: send the header 'authorization: Bearer TOKEN'"
        if _token_in(header) is None:
            return "the authorization header must have the form 'Bearer TOKEN'"
        return None if self.find(header) else "the bearer token is not one of this server's"

    def refresh(self) -> None:
        """Read the file again if it has changed, once a second at most."""
        if self._path is None or self._now_s() - self._read_s < READ_AGAIN_S:
            return
        self._read_s = self._now_s()
        version = file_version(self._path)
        if version == self._version:
            return
        try:
            callers = _parsed(self._path)
        except SettingsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                _log.error("tokens unchanged: the changed file does not work", problem=str(error))
            return
        self._version, self._problem = version, ""
        before, after = set(self._callers), set(callers)
        _log.info("tokens changed", added=_names(after - before), removed=_names(before - after))
        self._callers = callers
        self.changes += 1


def read_tokens(path: str) -> Tokens:
    """Read a token file. Raises SettingsError."""
    return Tokens(_parsed(path), path)


def _parsed(path: str) -> list[Caller]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read the token file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the token file {path} is not a text file") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    written = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not written:
        raise SettingsError(f"the token file {path} contains no token")
    if len(written) > TOKENS_MAX:
        raise SettingsError(
            f"the token file {path} may contain at most {TOKENS_MAX} tokens, got {len(written)}"
        )
    callers = [
        _caller(f"the token file {path}: token {place}", f"line-{number}", line)
        for place, (number, line) in enumerate(written, 1)
    ]
    names = [each.name for each in callers]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise SettingsError(f"the token file {path}: two tokens have the name {repeated!r}")
    return callers


def _caller(what: str, place: str, line: str) -> Caller:
    fields = line.split()
    if not (line.isascii() and all(each.isprintable() for each in fields)) or len(fields) not in {
        1,
        _FIELDS,
    }:
        raise SettingsError(
            f"{what} must be ASCII without spaces, or of the form NAME ROLE[,ROLE] TOKEN"
        )
    if len(fields) == 1:
        return bare_token(line, place)
    name, roles, token = fields
    if len(name) > NAME_CHARS_MAX:
        raise SettingsError(
            f"{what}: a name must be at most {NAME_CHARS_MAX} characters, got {len(name)}"
        )
    return Caller(name, _roles(what, roles), _digest(token))


def _roles(what: str, text: str) -> frozenset[Role]:
    try:
        return frozenset([Role(each) for each in text.split(",")])
    except ValueError:
        known = ", ".join(Role)
        raise SettingsError(f"{what}: a role must be one of {known}, got {preview(text)}") from None


def _token_in(header: str | bytes | None) -> str | None:
    if header is None:
        return None
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    return text[len(_SCHEME) :].strip() if text.lower().startswith(_SCHEME) else None


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _names(callers: Iterable[Caller]) -> list[str]:
    return sorted(each.name for each in callers)
