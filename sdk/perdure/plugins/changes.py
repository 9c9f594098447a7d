"""Thread that notifies plugins of changed operations, so that no answer of the service waits.

`note` does not wait. While plugins are being notified, further changes are collected and delivered
together afterwards: however slow a plugin is, at most one notification runs and one is pending.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

THREAD_NAME: Final = "plugin-change"


class ChangeNotifier:
    """Passes the ids of changed operations to `deliver`, which does not raise.

    When no thread can be started, everything is delivered at the end, by the caller of `stop`.
    """

    def __init__(self, deliver: Callable[[dict[str, None]], None]) -> None:
        self._deliver = deliver
        self._noted: dict[str, None] = {}
        self._stopping = False
        self._changed = threading.Condition()
        self._done: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Start the thread. Raises `RuntimeError` when no thread can be started."""
        self._thread.start()

    def note(self, operation_ids: dict[str, None]) -> None:
        """Deliver these soon, together with those already pending."""
        with self._changed:
            self._noted.update(operation_ids)
            self._changed.notify()

    def stop(self) -> Future[None]:
        """Deliver all that is pending; the future resolves when that is done."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is None:
            self._run()
        return self._done

    def _run(self) -> None:
        while noted := self._take():
            self._deliver(noted)
        self._done.set_result(None)

    def _take(self) -> dict[str, None]:
        with self._changed:
            while not self._noted and not self._stopping:
                self._changed.wait()
            noted, self._noted = self._noted, {}
            return noted
