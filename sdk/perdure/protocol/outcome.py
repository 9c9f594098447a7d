"""The outcomes of an invocation."""

import msgspec

from perdure_core.model import ErrorObject


class Succeeded(msgspec.Struct, frozen=True):
    """The handler returned; `result` is its value as JSON. The execution succeeds."""

    result: str | None


class Failed(msgspec.Struct, frozen=True):
    """The handler raised, or the execution cannot go on. The execution fails."""

    error: ErrorObject


class Pending(msgspec.Struct, frozen=True):
    """The handler waits, or its invocation was revoked; it will be invoked again."""


class Errored(msgspec.Struct, frozen=True):
    """The invocation failed, not the execution; it is run again."""

    error: ErrorObject


class Diverged(msgspec.Struct, frozen=True):
    """A replay did not match the history; the execution pauses until the code is fixed."""

    error: ErrorObject


class Lost(msgspec.Struct, frozen=True):
    """The invocation was taken away; there is nothing to report."""


Outcome = Succeeded | Failed | Pending | Errored | Diverged | Lost
