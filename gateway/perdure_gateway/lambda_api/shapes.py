"""What bodies of requests hold that only the gateway reads, named as the model names it."""

import msgspec


class PauseShape(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The bodies of PauseDurableExecution and ResumeDurableExecution."""

    client_token: str | None = None
    reason: str | None = None
    execution_timeout_paused: bool | None = None
