"""Ends a forked process that comes back out of the body of user code that forked it.

Such a process is a copy of a worker without the worker's threads: what it returns
cannot be recorded, and it would wait for that for ever. Its parent goes on.
"""

import os
import sys
import traceback
from types import TracebackType
from typing import Final

from perdure.primitives.user_code import raised_error

_CAME_BACK: Final = (
    "perdure: process {pid} was forked in a handler or a step, and came back out of it. It is ended"
    " here: only process {parent} can record what it returned. Leave a forked process with"
    " os._exit(), or use multiprocessing.\n"
)


class ForkGuard:
    """Guards one body, as a context manager: a process that was forked inside ends with it."""

    __slots__ = ("_pid",)

    def __enter__(self) -> None:
        """Remember this process."""
        self._pid = os.getpid()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process if it is another one, as the end of a program would."""
        if os.getpid() != self._pid:
            _leave(self._pid, error)


def _leave(parent: int, error: BaseException | None) -> None:
    status = 1
    try:
        match error if error is None else raised_error(error):
            case None | StopIteration():
                sys.stderr.write(_CAME_BACK.format(pid=os.getpid(), parent=parent))
            case SystemExit(code=None):
                status = 0
            case SystemExit(code=int(code)):
                status = code
            case SystemExit(code=words):
                sys.stderr.write(f"{words}\n")
            case raised:
                traceback.print_exception(raised)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF)
