"""Mapping of database errors to the store's errors.

The question that matters is whether something may have been written. Before COMMIT was sent the
answer is no. While COMMIT is in progress it is unknown, unless the database itself says that it has
rolled back.
"""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError

from perdure_host.errors import (
    ChangeRefused,
    CommitUnknown,
    DatabaseAway,
    StoreError,
    StoreUnavailable,
)

# What is wrong is a value that was to be written, not the database or the connection.
VALUES_REFUSED = (
    psycopg.IntegrityError,
    psycopg.DataError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
    OverflowError,
    UnicodeError,
)

# SQLITE_BUSY and SQLITE_FULL. Both leave the transaction open, and nothing of it in the log.
_SQLITE_ROLLED_BACK = (5, 13)

# Serialization failure and deadlock: the database has rolled back; the caller should retry.
_AGAIN = ("40001", "40P01")

# Beside classes 08 (connection exception) and 57P (shut down, crashed, starting up): too many
# connections; and a transaction that cannot write, because another server is the primary now.
_AWAY = ("53300", "25006")


def cause_of(error: Exception) -> Exception:
    """Return the driver's own error."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
        return error.orig
    return error


def is_worth_another_try(error: Exception) -> bool:
    """Return whether the database has rolled back because of a competing transaction."""
    cause = cause_of(error)
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _AGAIN


def is_away(error: Exception) -> bool:
    """Return whether the connection broke, or leads to a server that cannot serve now."""
    cause = cause_of(error)
    if not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return isinstance(cause, psycopg.InternalError) and cause.sqlstate in _AWAY
    state = cause.sqlstate
    return state is None or state in _AWAY or state.startswith(("08", "57P"))


def while_connecting(error: Exception, place: str) -> StoreError:
    """Return the error to raise if there is no connection.

    A server comes back by itself; a file that cannot be opened does not.
    """
    text = f"the database {place} is unavailable: {first_line(cause_of(error))}"
    if isinstance(cause_of(error), psycopg.Error | OSError):
        return DatabaseAway(text)
    return StoreUnavailable(text)


def holds_no_text(error: Exception) -> bool:
    """Return whether SQLite found bytes that are no text in a column of texts."""
    cause = cause_of(error)
    return isinstance(cause, sqlite3.OperationalError) and "decode to UTF-8" in str(cause)


def before_commit(error: Exception, place: str) -> StoreError:
    """Return the error to raise if COMMIT was not sent yet."""
    cause = cause_of(error)
    if isinstance(cause, VALUES_REFUSED):
        return ChangeRefused(f"the database {place} refused a statement: {first_line(cause)}")
    text = f"the database {place} is unavailable: {first_line(cause)}"
    return DatabaseAway(text) if is_away(error) else StoreUnavailable(text)


def during_commit(error: Exception, place: str) -> StoreError:
    """Return the error to raise if COMMIT was sent and no answer, or an error, came back."""
    cause = cause_of(error)
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _SQLITE_ROLLED_BACK:
        return StoreUnavailable(f"the database {place} refused a commit: {first_line(cause)}")
    if is_worth_another_try(error):
        return StoreUnavailable(f"the database {place} rolled a commit back: {first_line(cause)}")
    return CommitUnknown(f"a commit to {place} may or may not be written: {first_line(cause)}")


def first_line(cause: Exception) -> str:
    """Return the first line of the error's message, or the name of its class."""
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
