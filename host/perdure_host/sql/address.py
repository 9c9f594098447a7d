"""The address of a database: its URL, read so strictly that a password is never taken for a name.

Must stay true: neither an error of this module nor `place` holds any part of a password, wherever
it stands in the text. A URL that can be read in two ways is therefore refused without being shown.
"""

import re
from typing import Final, NamedTuple

import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from perdure_host.errors import SettingsError

_FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_POSTGRESQL: Final = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9]+)?://")
# Of the whole text. The user and the password may hold neither `@`, `/`, `?` nor `#` as they are.
_PARTS: Final = re.compile(
    r"[a-z0-9+]+://"
    r"(?:(?P<user>[^@/?#:]*)(?::[^@/?#]*)?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.%]*\]|[^@/?#:\[\]]*)(?::(?P<port>[0-9]*))?"
    r"(?P<database>/[^@?#]*)?"
    r"(?:\?[^@#]*)?"
)


class DatabaseAddress(NamedTuple):
    """Where a database is."""

    # With the password, for the driver.
    url: URL
    # What people are shown.
    place: str


def parse_address(text: str) -> DatabaseAddress:
    """Return the address that a URL names. Raises SettingsError, which shows none of the text."""
    if text.startswith("sqlite"):
        return _sqlite(text)
    parts = _PARTS.fullmatch(text) if _POSTGRESQL.match(text) else None
    if parts is None:
        raise _unreadable("In a password, percent-encode @ : / ? # and %")
    if not parts["database"] and parts["user"] is None:
        raise _unreadable("Name the user or the database")
    try:
        url = sqlalchemy.make_url(text)
    except (SQLAlchemyError, ValueError):
        raise _unreadable("In a password, percent-encode @ : / ? # and %") from None
    user = "" if parts["user"] is None else f"{parts['user']}@"
    port = f":{parts['port']}" if parts["port"] else ""
    place = f"postgresql://{user}{parts['host']}{port}{parts['database'] or ''}"
    return DatabaseAddress(url.set(drivername="postgresql+psycopg"), place)


def _sqlite(text: str) -> DatabaseAddress:
    try:
        url = sqlalchemy.make_url(text)
    except (SQLAlchemyError, ValueError):
        raise SettingsError("not the URL of a SQLite database. Use sqlite:///PATH.") from None
    if url.host or url.username or url.database in (None, "", ":memory:"):
        raise SettingsError("a SQLite store needs a file: sqlite:///PATH")
    return DatabaseAddress(url.set(drivername="sqlite"), f"sqlite:///{url.database}")


def _unreadable(advice: str) -> SettingsError:
    return SettingsError(
        "not the URL of a database; it is not shown, because it may hold a password."
        f" Use {_FORM}. {advice}."
    )
