"""Errors of the environment: settings, the database, receivers of status-change events.

The type says whose fault it is, and therefore who retries.
"""


class HostError(Exception):
    """Something outside this process prevents an action; the message can be shown to users."""


class SettingsError(HostError):
    """A setting is invalid; nothing was started."""


class SinkError(HostError):
    """A receiver did not accept all status-change events; they stay queued and are sent again."""


class Unreadable(HostError):
    """Something stored cannot be read; the message says what, and why."""


class StoreError(HostError):
    """A database operation failed."""


class StoreUnavailable(StoreError):
    """The database is unavailable, and nothing was written. Try again later."""


class DatabaseAway(StoreUnavailable):
    """The database cannot be reached at the moment, and nothing was written. Try again later.

    A node logs the begin and the end of such a time; nothing else logs this error.
    """


class CommitUnknown(StoreError):
    """The database may or may not have written the commit.

    The node must take a new incarnation and reload before it answers anything more.
    """


class ChangeRefused(StoreError):
    """The database refuses a change that contradicts what is stored; a repeat would fail again.

    Nothing of the change was written.
    """


class Fenced(StoreError):
    """Another incarnation has taken over; this one may never write again."""


class NodeTaken(StoreError):
    """Another node is alive and owns the buckets; this one must stand by.

    `address` is where clients reach that one, HOST:PORT.
    """

    def __init__(self, message: str, address: str = "") -> None:
        super().__init__(message)
        self.address = address


def is_outage(error: Exception) -> bool:
    """Return whether the node itself logs this failure, as part of an outage of its database."""
    return isinstance(error, DatabaseAway | CommitUnknown | Fenced)


class SchemaTooNew(StoreError):
    """The database was written by a newer Perdure."""


class SchemaTooOld(StoreError):
    """The database needs `perdure migrate` before this Perdure can use it."""
