"""The settings of a worker. Each field says what it is for; all are checked once, here."""

import msgspec

from perdure_core.limits import SLOTS_MAX, WORKER_ID_CHARS_MAX
from perdure_core.validation import is_worker_id
from perdure_host.channel import ConnectionSettings
from perdure_host.errors import SettingsError
from perdure_worker.draining import GRACE_S_DEFAULT, GRACE_S_MAX
from perdure_worker.metrics.server import MetricsPort


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a worker process."""

    connection: ConnectionSettings
    # Invocations at a time; each has a thread of its own while its handler runs.
    slots: int = 100
    # Serve Prometheus metrics there.
    metrics: MetricsPort | None = None
    # Made of host and process when absent. Two processes must never share one.
    worker_id: str | None = None
    # Seconds that running handlers may go on after a stop before they are handed back. More makes
    # a deploy slower, less makes more steps run again.
    grace_s: float = GRACE_S_DEFAULT

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= SLOTS_MAX:
            raise SettingsError(f"slots must be 1 to {SLOTS_MAX:,}, not {self.slots}")
        if self.worker_id is not None and not is_worker_id(self.worker_id):
            raise SettingsError(
                f"a worker id is 1 to {WORKER_ID_CHARS_MAX} characters of [A-Za-z0-9-_.:@],"
                f" not {self.worker_id!r}"
            )
        if not 0 <= self.grace_s <= GRACE_S_MAX:
            raise SettingsError(
                f"the grace must be 0 to {GRACE_S_MAX:,.0f} seconds, got {self.grace_s:g}"
            )
