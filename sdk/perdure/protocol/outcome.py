"""How an invocation ends."""

import msgspec

from perdure_core.model import ErrorObject


class Succeeded(msgspec.Struct, frozen=True):
    """The handler returned; `result` is its value as JSON. The execution succeeds."""

    result: str | None


class Failed(msgspec.Struct, frozen=True):
    """The handler raised, or the execution cannot go on. The execution fails."""

    error: ErrorObject


class Pending(msgspec.Struct, frozen=True):
    """The handler waits for something, or its turn was revoked; it will be invoked again."""


class Errored(msgspec.Struct, frozen=True):
    """The invocation, not the execution, went wrong; it is to be run again."""

    error: ErrorObject


class Diverged(msgspec.Struct, frozen=True):
    """The code asks for other operations than are recorded; the execution pauses until mended."""

    error: ErrorObject


class Lost(msgspec.Struct, frozen=True):
    """The turn has passed to somebody else; there is nothing to report."""


Outcome = Succeeded | Failed | Pending | Errored | Diverged | Lost
