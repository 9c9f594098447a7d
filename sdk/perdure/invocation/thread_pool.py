"""Threads for the branches of one invocation, reused, and never in the way of the process's end.

They are daemons, as the threads of handlers are: a branch whose turn has passed may run user code
for hours, and a process that was told to stop does not wait for it.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

Job = Callable[[], None]

THREAD_NAME: Final = "perdure-branch"


class DaemonThreadPool:
    """Runs each job in a thread of its own. Jobs do not raise; `busy` have not ended."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._threads = 0
        self.busy = 0

    def start(self, job: Job) -> None:
        """Run `job` at once: in a thread that is idle, or else in a new one."""
        with self._changed:
            self.busy += 1
            if self.busy > self._threads:
                self._threads += 1
                name = f"{THREAD_NAME}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._jobs.put(job)

    def wait_ended(self) -> None:
        """Wait until every job has ended, and let the threads go.

        Without a deadline: this is user code, and the invocation lasts as long as it runs.
        """
        with self._changed:
            while self.busy:
                self._changed.wait()
            for _ in range(self._threads):
                self._jobs.put(None)
            self._threads = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            # An idle thread must not keep what its last branch touched alive.
            del job
            with self._changed:
                self.busy -= 1
                self._changed.notify_all()
