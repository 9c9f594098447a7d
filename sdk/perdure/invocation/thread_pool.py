"""Pool of daemon threads, reused, which never delays the end of the process.

The standard library's pool waits for its threads when the interpreter exits. User code of an
invocation that was lost may run for hours, and a process that was asked to stop must not wait for
it: these threads are daemons.
"""

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue

Job = Callable[[], None]


class DaemonThreadPool:
    """Runs each job in a thread of its own. Jobs do not raise; `busy` have not ended.

    A job runs with a copy of the context variables of its starter. The threads are called `name-1`,
    `name-2` …
    """

    def __init__(self, name: str) -> None:
        self._name = name
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
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._jobs.put(partial(copy_context().run, job))

    def wait_ended(self) -> None:
        """Wait until every job has ended, and end the threads.

        Without a deadline: this is user code, and the invocation lasts as long as it runs.
        """
        with self._changed:
            while self.busy:
                self._changed.wait()
            self._end_threads()

    def close(self) -> None:
        """End idle threads now, and busy ones when their jobs have ended."""
        with self._changed:
            self._end_threads()

    def _end_threads(self) -> None:
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            # An idle thread must not keep what its last job touched alive.
            del job
            with self._changed:
                self.busy -= 1
                self._changed.notify_all()
