"""Bodies of steps in threads of their own, which need not be waited for.

    RUNNING ── returned or raised ──> ENDED
       └── overdue ──> asked (`cancelled`) ──> interrupted ──> OVERDUE ── returned … ──> ENDED

Python cannot stop a thread, but it can raise an exception in one: at its next bytecode, so never
while it is stuck in a call of C code. The precedent is Dramatiq's middleware `TimeLimit`. Must stay
true: the exception is only raised while the body runs, guarded by a lock; a body that was given up
changes nothing by what it still does; and no more than `ABANDONED_MAX` of them run in a process: an
attempt beyond that is waited for, as one without a timeout is.
"""

import ctypes
import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final

from perdure.exceptions import StepCancelledError
from perdure.operations.attempt import Attempt

THREAD_NAME: Final = "perdure-step"

# How long a body may take to notice that it is cancelled, before it is interrupted.
CANCEL_GRACE_S: Final = 1.0
# How long it may take to clean up then, before it is left alone.
CLEANUP_GRACE_S: Final = 1.0
# Bodies of one process that run although nobody waits for them.
ABANDONED_MAX: Final = 64

_log = logging.getLogger("perdure")


class _Interrupted(StepCancelledError):
    """Raised in the thread of a body that does not stop by itself."""

    def __init__(self) -> None:
        super().__init__("The body did not stop when its time was over.")


class AbandonedSteps:
    """Counts the bodies of this process that nobody waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @property
    def count(self) -> int:
        """How many run."""
        return self._count

    def admit(self) -> bool:
        """Count one more, if there may be one."""
        with self._lock:
            if self._count >= ABANDONED_MAX:
                return False
            self._count += 1
            return True

    def leave(self) -> None:
        """Count one less."""
        with self._lock:
            self._count -= 1


abandoned_steps: Final = AbandonedSteps()


class StepThread:
    """One body, which begins at once. `on_end` is called on its thread, unless it was given up."""

    def __init__(self, attempt: Attempt, body: Callable[[], Any]) -> None:
        self.on_end: Callable[[], None] = _nothing
        self._attempt = attempt
        self._body = body
        self._variables = copy_context()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ended = False
        self._abandoned = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait_ended(self, timeout_s: float | None) -> bool:
        """Wait for the body's end, at most so long; tell whether it has ended."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout_s)

    def interrupt(self) -> None:
        """Raise an exception in the body, wherever it is, unless it has ended."""
        with self._lock:
            if not self._ended:
                _raise_in(self._thread, _Interrupted)

    def abandon(self) -> bool:
        """Let the body run on for nobody; False if it has ended, or must be waited for."""
        with self._lock:
            if self._ended:
                return False
            if not abandoned_steps.admit():
                _log.error(
                    "%s does not end after its timeout, and is waited for: %d bodies like it run",
                    self._attempt.title,
                    ABANDONED_MAX,
                )
                return False
            self._abandoned = True
        _log.warning("%s does not end after its timeout; it is left alone", self._attempt.title)
        return True

    def result(self) -> Any:
        """Return what the body returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._variables.run(self._body)
        except BaseException as error:  # noqa: BLE001 - raised where the body is waited for
            self._error = error
        try:
            self._end()
        except _Interrupted:  # it came between the body's end and its record
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            _raise_in(self._thread, None)  # none that was on its way may arrive any more
            abandoned = self._abandoned
            self._changed.notify_all()
        if abandoned:
            abandoned_steps.leave()
            _log.info("%s has ended, after its timeout", self._attempt.title)
        else:
            self.on_end()


def call_with_deadline(attempt: Attempt, body: Callable[[], Any]) -> Any:
    """Call `body` in a thread of its own, and return its value, or raise what it raises.

    When the attempt is overdue the body is asked, interrupted and then left alone; whoever made the
    attempt says that it failed.
    """
    thread = StepThread(attempt, body)
    thread.start()
    while not thread.wait_ended(min(attempt.left_s, threading.TIMEOUT_MAX)):
        if attempt.left_s <= 0:
            break
    if not thread.wait_ended(CANCEL_GRACE_S):
        thread.interrupt()
        if not thread.wait_ended(CLEANUP_GRACE_S) and thread.abandon():
            return None
    thread.wait_ended(None)
    return thread.result()


def _raise_in(thread: threading.Thread, error: type[BaseException] | None) -> None:
    """Raise an exception in a thread at its next bytecode; None takes back one that has not come.

    `PyThreadState_SetAsyncExc` takes the identity of a thread that is known to run.
    """
    assert thread.ident is not None
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), raised)


def _nothing() -> None:
    """Nobody asks."""
