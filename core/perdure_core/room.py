"""Room in a history: how much one execution may record.

What makes a history grow without an end in sight is refused before the limit. The last eighth is
reserved for what leads to an end: outcomes of callbacks, children, timers and the execution itself.
"""

from typing import Final

from perdure_core import limits
from perdure_core.commands import Checkpoint, Command, HeartbeatCallback, Pause
from perdure_core.decision import Decision
from perdure_core.refusals import Invalid

_GROWING: Final = (Checkpoint, HeartbeatCallback, Pause)


def check_room(command: Command, decision: Decision, records: int, size_bytes: int) -> None:
    """Raise Invalid for a command that makes a history grow which is nearly full."""
    if decision.record is None or not isinstance(command, _GROWING):
        return
    for size, size_max, unit in (
        (records, limits.HISTORY_RECORDS_MAX, "records"),
        (size_bytes, limits.HISTORY_BYTES_MAX, "bytes"),
    ):
        if size >= size_max - size_max // 8:
            raise Invalid(
                f"the history of this execution must be at most {size_max:,} {unit}, got {size:,};"
                " the rest is reserved for its end. Continue in a chained invoke."
            )


def is_half_full(records: int, size_bytes: int) -> bool:
    """Return whether half of the room in a history is used."""
    return 2 * records >= limits.HISTORY_RECORDS_MAX or 2 * size_bytes >= limits.HISTORY_BYTES_MAX
