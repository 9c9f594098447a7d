"""What the gateway itself says no to. Each docstring tells whose turn it is to act."""

from perdure_host.errors import HostError


class NotServing(HostError):
    """This node is starting, standing by or stopping; another call, or another node, will do."""


class SessionReplaced(HostError):
    """A newer session bears the same worker id; the older one has to go."""


class HeartbeatTimeout(HostError):
    """The worker gave no sign of life in time; it has to connect again."""


class ResourceExhausted(HostError):
    """A bound of the server is reached; back off and try again."""
