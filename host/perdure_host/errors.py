"""What can go wrong in the world around the core.

The type says whose fault it is, and hence who retries.
"""


class HostError(Exception):
    """Something outside this process does not allow it; the message is fit for people."""


class SettingsError(HostError):
    """The operator asked for something impossible; nothing was started."""


class SinkError(HostError):
    """A receiver of status-change events did not take all of them; they are kept and told again."""


class StoreError(HostError):
    """The database did not do what it was asked to."""


class StoreUnavailable(StoreError):
    """The database cannot answer now, and certainly wrote nothing. Try again later."""


class CommitUnknown(StoreError):
    """The database may or may not have written the commit.

    Whoever sees this takes a new incarnation and reloads before it says anything more.
    """


class Fenced(StoreError):
    """Another incarnation has taken over; this one may never write again."""


class NodeTaken(StoreError):
    """Another node is alive and owns the buckets; this one has to stand by."""


class SchemaTooNew(StoreError):
    """The database was written by a newer Perdure."""


class SchemaTooOld(StoreError):
    """The database needs `perdure migrate` before this Perdure can use it."""
