"""A `perdure` command with its clock set, so that an old database is opened while it is young.

    python -m tests.system.earlier.at_moment MILLISECONDS COMMAND…

Timeouts and retention are times of the clock on the wall: opened years later, everything in such a
database would have timed out long ago. Only that clock is set, and that of PostgreSQL, whose time a
server keeps; steady ones are left alone.
"""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection

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


def shifted(
    database_ms: "Callable[[Connection], int]", by_ms: int
) -> "Callable[[Connection], int]":
    """Return what reads the clock of a database, shifted by so many milliseconds."""
    return lambda connection: database_ms(connection) + by_ms


if __name__ == "__main__":
    shift_ms = int(sys.argv.pop(1))
    set_clock(shift_ms)

    from perdure_cli.main import main
    from perdure_host.sql import postgresql

    setattr(postgresql, "now_ms", shifted(postgresql.now_ms, shift_ms))  # noqa: B010 - likewise
    main()
