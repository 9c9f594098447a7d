"""File and line of the user's call, for error messages. Computed only when one is raised."""

import sys
from types import FrameType
from typing import Final

_INTERNAL_PACKAGES: Final = frozenset(
    {"perdure", "perdure_worker", "perdure_core", "perdure_host", "perdure_cli"}
)


def user_line(frame: FrameType | None) -> str | None:
    """Return file:line of the innermost frame outside Perdure and the standard library.

    None where there is none: a task or a thread starts without the frames of its creator.
    """
    while frame is not None:
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if top not in _INTERNAL_PACKAGES and top not in sys.stdlib_module_names:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None
