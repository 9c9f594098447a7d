"""Threads for handlers, reused, and never in the way of the process's end.

The standard library's pool waits for its threads when the interpreter exits. A handler whose
invocation is lost may run user code for hours, and a stopping worker must not wait for it:
these threads are daemons.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

Job = Callable[[], None]

THREAD_NAME: Final = "perdure-handler"


class HandlerThreads:
    """Runs each job in a thread of its own. Used from one thread; jobs do not raise."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = 0

    def start(self, job: Job, *, busy: int) -> None:
        """Run `job` soon; `busy` is how many jobs have not ended, this one included."""
        if busy > self._threads:
            self._threads += 1
            name = f"{THREAD_NAME}-{self._threads}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """End idle threads now, and busy ones when their handlers return."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            # An idle thread must not keep what its last handler touched alive.
            del job
