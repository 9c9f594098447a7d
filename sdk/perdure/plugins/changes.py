"""The thread on which plugins hear what changed, so that no answer of the service waits for them.

Whoever notes a change does not wait. While the plugins are told, further changes gather; they are
told together afterwards, so however slow a plugin is, there is one notice on its way and at most
one behind it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

THREAD_NAME: Final = "plugin-change"


class ChangeNotifier:
    """Hands the ids of changed operations to `deliver`, which does not raise.

    When no thread can be started, everything is delivered at the end, by whoever calls `stop`.
    """

    def __init__(self, deliver: Callable[[dict[str, None]], None]) -> None:
        self._deliver = deliver
        self._noted: dict[str, None] = {}
        self._stopping = False
        self._changed = threading.Condition()
        self._done: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Begin to deliver. Raises `RuntimeError` when no thread can be started."""
        self._thread.start()

    def note(self, operation_ids: dict[str, None]) -> None:
        """Have these delivered, soon and together with what waits already."""
        with self._changed:
            self._noted.update(operation_ids)
            self._changed.notify()

    def stop(self) -> Future[None]:
        """Deliver what is left; the future resolves when that has been done."""
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
