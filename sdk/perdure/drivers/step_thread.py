"""Runs a step in its own thread, so that it can be abandoned after its timeout.

    RUNNING ── returned or raised ──> ENDED
       └── timed out ──> `cancelled` ──> interrupted ──> ABANDONED ── returned or raised ──> ENDED

Python cannot stop a thread, but it can raise an exception in one: at its next bytecode, so never
while it is stuck in a call of C code. The precedent is Dramatiq's middleware `TimeLimit`. Must stay
true: the exception is only raised while the body runs, guarded by a lock; one that was sent is
raised before its thread ends, since a call under a profiler never returns in CPython 3.11 while it
looks for one that never was; nothing that an abandoned body still does is recorded; and no more
than `ABANDONED_MAX` of them run in a process: an attempt beyond that is waited for, as one without
a timeout is.
"""

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final

from perdure.exceptions import StepCancelledError
from perdure.operations.attempt import Attempt
from perdure.primitives.forked_process import ForkGuard

THREAD_NAME: Final = "perdure-step"

# How long a body may take to notice that it is cancelled before it is interrupted.
CANCEL_GRACE_S: Final = 1.0
# How long it may take to clean up then before it is abandoned.
CLEANUP_GRACE_S: Final = 1.0
# The most abandoned bodies that run in one process.
ABANDONED_MAX: Final = 64

_log = logging.getLogger("perdure")


class _Interrupted(StepCancelledError):
    """Raised in the thread of a body that does not stop by itself."""

    def __init__(self) -> None:
        super().__init__("The step did not stop after its timeout.")


class AbandonedSteps:
    """Counts the abandoned bodies of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @property
    def count(self) -> int:
        """How many abandoned bodies run."""
        return self._count

    def admit(self) -> bool:
        """Count one more; return False if that would be more than `ABANDONED_MAX`."""
        with self._lock:
            if self._count >= ABANDONED_MAX:
                return False
            self._count += 1
            return True

    def leave(self) -> None:
        """Count one less: its body has ended."""
        with self._lock:
            self._count -= 1


abandoned_steps: Final = AbandonedSteps()


class StepThread:
    """One body in its own thread."""

    def __init__(self, attempt: Attempt, body: Callable[[], Any]) -> None:
        self._attempt = attempt
        self._body = body
        self._variables = copy_context()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._interruptible = True
        self._interrupted = False
        self._ended = False
        self._abandoned = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_ended(self, timeout_s: float | None) -> bool:
        """Wait for the body's end, at most `timeout_s`; return whether it has ended."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout_s)

    def interrupt(self) -> None:
        """Raise an exception in the body, wherever it is, unless it has ended; once at most."""
        with self._lock:
            if self._interruptible:
                self._interruptible, self._interrupted = False, True
                _raise_in(self._thread, _Interrupted)

    def abandon(self) -> bool:
        """Stop waiting for the body; return False if it has ended, or must be waited for."""
        with self._lock:
            if self._ended:
                return False
            if not abandoned_steps.admit():
                _log.error(
                    "%s did not end after its timeout, and is waited for: %d are abandoned already",
                    self._attempt.title,
                    ABANDONED_MAX,
                )
                return False
            self._abandoned = True
        _log.warning("%s did not end after its timeout; it is abandoned", self._attempt.title)
        return True

    def result(self) -> Any:
        """Return what the body returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            with ForkGuard():
                self._value = self._variables.run(self._body)
        except BaseException as error:  # noqa: BLE001 - raised where the body is waited for
            self._error = error
        try:  # noqa: SIM105 - `suppress` is Python code, which could be interrupted
            self._end_interrupt()
        except _Interrupted:
            pass
        self._end()

    def _end_interrupt(self) -> None:
        """Refuse further interrupts, and raise one that was sent and may not have come yet."""
        with self._lock:  # not the condition, whose Python code could be interrupted
            self._interruptible = False
        if self._interrupted:
            _raise_in(self._thread, _Interrupted)  # takes the place of one that is still to come
            while True:
                time.sleep(0)

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            abandoned = self._abandoned
            self._changed.notify_all()
        if abandoned:
            abandoned_steps.leave()
            _log.info("%s, which was abandoned after its timeout, has ended", self._attempt.title)


def call_with_deadline(attempt: Attempt, body: Callable[[], Any]) -> Any:
    """Call `body` in a thread of its own, and return its value, or raise what it raises.

    When the attempt times out, the body sees `cancelled`, is interrupted, and is finally abandoned;
    the attempt itself fails with its timeout.
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


def _raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    """Raise an exception in a thread at its next bytecode.

    `PyThreadState_SetAsyncExc` takes the identity of a thread that is known to run.
    """
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(error)
    )
