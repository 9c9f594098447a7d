"""One thread with an event loop for all async handlers of this worker.

It is not the loop that talks to the server: a handler that blocks where it should await keeps other
async handlers waiting, and nothing else. The thread begins with the first async handler, and is a
daemon, as those of other handlers are.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from perdure.worker_api import HandlerLoop, close_loop

THREAD_NAME: Final = "perdure-async-handlers"

Job = Callable[[], Coroutine[Any, Any, None]]
Running: TypeAlias = "dict[asyncio.Task[None], None]"


class AsyncHandlerTask:
    """An async handler that runs, or is about to."""

    def __init__(
        self, loop: HandlerLoop, running: Running, job: Job, ended: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._running = running
        self._job = job
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        """Cancel it soon, from any thread. A second call changes nothing."""
        if not self._cancelled and not self._loop.is_closed():
            self._cancelled = True
            self._loop.call_soon_threadsafe(self._cancel)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._job())
        self._running[self._task] = None
        self._task.add_done_callback(self._end)

    def _end(self, task: "asyncio.Task[None]") -> None:
        del self._running[task]
        self._ended()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class HandlerLoopThread:
    """Runs async handlers. Used from one thread."""

    def __init__(self) -> None:
        self._loop: HandlerLoop | None = None
        self._running: Running = {}

    def start(self, job: Job, ended: Callable[[], None]) -> AsyncHandlerTask:
        """Run `job`, which does not raise; `ended` is called on its thread, also when cancelled."""
        if self._loop is None:
            self._loop = HandlerLoop()
            run = partial(_run, self._loop, self._running)
            threading.Thread(target=run, name=THREAD_NAME, daemon=True).start()
        return AsyncHandlerTask(self._loop, self._running, job, ended)

    def close(self) -> None:
        """Cancel what still runs, and let the thread end."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)


def _run(loop: HandlerLoop, running: Running) -> None:
    asyncio.set_event_loop(loop)
    _survive(loop.run_forever)
    close_loop(loop, tuple(running))


def _survive(run: Callable[[], object]) -> None:
    """Run the loop until it is stopped; asyncio lets these out of any task that raises them."""
    while True:
        try:
            run()
        except (KeyboardInterrupt, SystemExit):  # of user code: signals reach the main thread
            continue
        return
