"""Shapes of request bodies that only the gateway reads, named as in the API model."""

import msgspec


class PauseShape(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The bodies of PauseDurableExecution and ResumeDurableExecution."""

    client_token: str | None = None
    reason: str | None = None
    execution_timeout_paused: bool | None = None
