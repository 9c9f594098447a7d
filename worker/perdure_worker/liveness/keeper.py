"""The worker's side of its keeper: starts it, and lets it know that the interpreter runs.

Must stay true: nothing here waits. A keeper that has ended is started again with the next beat; a
worker without one works as before, and is lost when its interpreter is held for too long.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
from typing import Final

import msgspec

from perdure.worker_api import running_attempts
from perdure_host.channel import ConnectionSettings
from perdure_worker.draining import NAMED_MAX
from perdure_worker.liveness.held import LATE_INTERVALS

_MODULE: Final = "perdure_worker.liveness.keeper_process"
# Of one worker. One that ends again and again is given up.
STARTS_MAX: Final = 10

_log = logging.getLogger("perdure.worker")


class Keeper:
    """Sends heartbeats while this process cannot. Belongs to the loop."""

    def __init__(self, connection: ConnectionSettings, worker_id: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._worker_id = worker_id
        self._process: subprocess.Popen[bytes] | None = None
        self._interval_s = 0.0
        self._starts = 0
        self._next: asyncio.TimerHandle | None = None
        self._beat_s = 0.0

    def watch(self, interval_s: float) -> None:
        """Watch from now on, for a server that expects a heartbeat every `interval_s`."""
        if interval_s != self._interval_s:
            self.close()
        if self._next is None:
            self._interval_s = interval_s
            self._beat_s = self._loop.time()
            self._beat()

    def _beat(self) -> None:
        """Send it a sign that the interpreter runs."""
        self._next = self._loop.call_later(self._interval_s, self._beat)
        held_s = self._loop.time() - self._beat_s
        self._beat_s = self._loop.time()
        if held_s > LATE_INTERVALS * self._interval_s:
            _log.warning(
                "the interpreter of this worker was held for %.1f s, so that nothing else ran; its"
                " heartbeats were sent for it; running now: %s",
                held_s,
                ", ".join(each.title for each in running_attempts()[:NAMED_MAX]) or "no step",
            )
        if self._process is None and not self._start():
            return
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            os.write(self._process.stdin.fileno(), b"b")
        except BlockingIOError:
            return  # it has enough to read
        except OSError:
            self._end()

    def close(self) -> None:
        """Watch no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._end()

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        # It may be in the middle of a call, and holds nothing.
        process.kill()
        process.wait()

    def _start(self) -> bool:
        if self._starts >= STARTS_MAX:
            return False
        self._starts += 1
        whom = {
            "worker_id": self._worker_id,
            "interval_s": self._interval_s,
            "connection": msgspec.to_builtins(self._connection),
        }
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "GRPC_VERBOSITY": "NONE",
        }
        try:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, with a module of ours
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=environment,
                bufsize=0,
                # Ctrl+C stops the worker, which still needs it while it drains.
                start_new_session=True,
            )
        except OSError as error:
            _log.warning("no process can be started that keeps this worker alive: %s", error)
            self._starts = STARTS_MAX
            return False
        assert process.stdin is not None
        process.stdin.write(json.dumps(whom).encode() + b"\n")
        os.set_blocking(process.stdin.fileno(), False)
        self._process = process
        return True
