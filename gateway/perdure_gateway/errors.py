"""Errors of the gateway itself. Each docstring names what the caller should do."""

from perdure_host.errors import HostError


class NotServing(HostError):
    """This node is starting, on standby or stopping. Try again, or call another node."""


class OnStandby(NotServing):
    """Another node owns the database. Call that one."""


class SessionReplaced(HostError):
    """A newer session uses the same worker id. The older one must end."""


class HeartbeatTimeout(HostError):
    """The worker sent nothing in time. It must connect again."""


class ResourceExhausted(HostError):
    """A bound of the server is reached, or it is behind. Back off and try again."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
