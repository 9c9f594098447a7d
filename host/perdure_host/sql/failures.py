"""What a database's error means to whoever asked for the work.

The one question that matters is whether something may have been written. Before COMMIT was sent the
answer is no. While COMMIT is under way it is unknown, unless the database itself says that it has
rolled back.
"""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError

from perdure_host.errors import CommitUnknown, Fenced, StoreError, StoreUnavailable

# SQLITE_BUSY and SQLITE_FULL. Either leaves the transaction open, and nothing of it in the log.
_SQLITE_ROLLED_BACK = (5, 13)

# Serialization failure and deadlock: the database has rolled back and asks to try again.
_AGAIN = ("40001", "40P01")


def cause_of(error: Exception) -> Exception:
    """Return the driver's own error."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
        return error.orig
    return error


def is_worth_another_try(error: Exception) -> bool:
    """Say whether the database has rolled back because of a competing transaction."""
    cause = cause_of(error)
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _AGAIN


def before_commit(error: Exception, place: str) -> StoreError:
    """Return what to raise when the transaction has not come as far as its COMMIT."""
    cause = cause_of(error)
    if isinstance(cause, psycopg.IntegrityError | sqlite3.IntegrityError):
        return Fenced(f"somebody else has written to {place}: {_first_line(cause)}")
    return StoreUnavailable(f"the database {place} does not answer: {_first_line(cause)}")


def during_commit(error: Exception, place: str) -> StoreError:
    """Return what to raise when COMMIT was sent and no answer, or a bad one, came back."""
    cause = cause_of(error)
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _SQLITE_ROLLED_BACK:
        return StoreUnavailable(f"the database {place} refused a commit: {_first_line(cause)}")
    if is_worth_another_try(error):
        return StoreUnavailable(f"the database {place} gave up a commit: {_first_line(cause)}")
    return CommitUnknown(f"a commit to {place} may or may not be written: {_first_line(cause)}")


def _first_line(cause: Exception) -> str:
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
