"""Refusals: exceptions for commands that are malformed, or that the state does not allow.

A refusal changes nothing.

The class decides the status that the caller gets. The docstring is the default message on the wire.
"""


class Refused(Exception):
    """The state does not allow it."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class Invalid(Refused):
    """The request is malformed, whatever the state."""


class StaleToken(Refused):
    """Invalid checkpoint token: its turn has passed."""


class Ended(Refused):
    """The execution has ended."""


class NotEnded(Refused):
    """The execution has not ended."""


class CallbackClosed(Refused):
    """The callback is already completed."""


class CallbackExpired(CallbackClosed):
    """The callback has timed out."""


class Unknown(Refused):
    """There is no such function, execution, operation or callback."""


class UnknownFunction(Unknown):
    """There is no such function."""


class Quarantined(Refused):
    """The execution is quarantined: what is stored of it cannot be read."""


class NameTaken(Refused):
    """An execution of this name was started with another input."""
