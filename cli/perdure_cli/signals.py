"""Signal handling of long-running commands: SIGTERM and SIGINT stop, a second SIGINT kills.

Must stay true: the handlers are in place before anything is started, so that nothing is left
half-started by an early signal.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_status


def run_until_signalled(body: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `body` with an event that the signals set, and return its exit status."""
    return asyncio.run(_watched(body))


async def _watched(body: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, _interrupted, stop)
    return await body(stop)


def _interrupted(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(ExitCode.INTERRUPTED)
    stop.set()
    print_status("stopping; press Ctrl+C again to exit at once")
