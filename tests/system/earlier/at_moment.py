"""A `perdure` command with its clock set, so that an old database is opened while it is young.

    python -m tests.system.earlier.at_moment MILLISECONDS COMMAND…

Timeouts and retention are times of the clock on the wall: opened years later, everything in such a
database would have timed out long ago. Only that clock is set; steady ones are left alone.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

_NS_PER_MS: Final = 1_000_000
_MS_PER_S: Final = 1_000


def set_clock(by_ms: int) -> None:
    """Shift the wall clock by so many milliseconds."""
    wall_ns: Callable[[], int] = time.time_ns
    wall_s: Callable[[], float] = time.time

    def time_ns() -> int:
        return wall_ns() + by_ms * _NS_PER_MS

    def time_s() -> float:
        return wall_s() + by_ms / _MS_PER_S

    setattr(time, "time_ns", time_ns)  # noqa: B010 - type checkers know that it is a function
    setattr(time, "time", time_s)  # noqa: B010 - likewise


if __name__ == "__main__":
    set_clock(int(sys.argv.pop(1)))

    from perdure_cli.main import main

    main()
