"""Where user code stands, for messages: asked when something is wrong, and never on the way."""

import sys
from types import FrameType
from typing import Final

_OURS: Final = frozenset(
    {"perdure", "perdure_worker", "perdure_core", "perdure_host", "perdure_cli"}
)


def user_line(frame: FrameType | None) -> str | None:
    """Return file:line of the innermost frame that is neither ours nor the standard library's.

    None where there is none: a task or a thread begins without the code that made it.
    """
    while frame is not None:
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if top not in _OURS and top not in sys.stdlib_module_names:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None
