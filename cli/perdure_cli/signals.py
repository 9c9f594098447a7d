"""Signal handling of long-running commands: SIGTERM and SIGINT stop, a second SIGINT kills.

Must stay true: the handlers are in place before anything is started, so that nothing is left
half-started by an early signal; and they are this process's alone. A forked child would wake the
event loop of its parent instead of ending, so it gets the handlers that any Python program has.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Final

from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_status

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def run_until_signalled(body: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `body` with an event that the signals set, and return its exit status."""
    return asyncio.run(_watched(body))


async def _watched(body: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    stop = asyncio.Event()
    _SignalsOfChildren().register()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, _interrupted, stop)
    return await body(stop)


class _SignalsOfChildren:
    """Gives forked children the usual handlers; what they set for children of theirs stays."""

    def __init__(self) -> None:
        self._ours = True
        self._masks = threading.local()

    def register(self) -> None:
        """Do so from the next fork on."""
        os.register_at_fork(
            before=self._block, after_in_parent=self._restore, after_in_child=self._use_defaults
        )

    def _block(self) -> None:
        # A signal that reached the child before it has its own handlers would wake our loop.
        if self._ours:
            self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def _restore(self) -> None:
        if self._ours:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.before)

    def _use_defaults(self) -> None:
        if self._ours:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._restore()
            self._ours = False


def _interrupted(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(ExitCode.INTERRUPTED)
    stop.set()
    print_status("stopping; press Ctrl+C again to exit at once")
