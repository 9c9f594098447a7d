"""The keeper: a process that sends a worker's heartbeats while the worker cannot.

Its standard input has one line of JSON, who it speaks for, and then a byte for each beat. It ends
with its input, or with its parent. A worker that was stopped by a signal is not spoken for, and
neither is one that has ended. gRPC is loaded when it is needed: most keepers never need it.
"""

import json
import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perdure_worker.liveness.held import HeldWatch

if TYPE_CHECKING:
    from perdure_worker.liveness.heartbeats import HeartbeatSender

_STOPPED: Final = frozenset("TtXZ")


def main() -> None:
    """Serve the worker that started this process."""
    worker = os.getppid()
    # No byte may hide in a buffer.
    source = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    first = _read_line(source)
    if not first:
        return
    whom: dict[str, Any] = json.loads(first)
    watch = HeldWatch(whom["interval_s"], time.monotonic())
    sender: HeartbeatSender | None = None
    while True:  # ends with the input, or with the parent
        readable, _, _ = select.select([source], [], [], watch.next_check_s(time.monotonic()))
        if os.getppid() != worker:
            return
        if readable:
            if not source.read(65_536):
                return
            watch.beat(time.monotonic())
        elif watch.speaks(time.monotonic()) and not is_stopped(worker):
            sender = sender or _sender(whom)
            sender.send()


def _read_line(source: Any) -> bytes:
    line = bytearray()
    while (byte := source.read(1)) and byte != b"\n":
        line += byte
    return bytes(line)


def _sender(whom: dict[str, Any]) -> "HeartbeatSender":
    from perdure_host.channel import ConnectionSettings  # noqa: PLC0415 - as below
    from perdure_worker.liveness.heartbeats import HeartbeatSender  # noqa: PLC0415 - loads gRPC

    return HeartbeatSender(ConnectionSettings(**whom["connection"]), whom["worker_id"])


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal, or has ended, where the system tells."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return not Path("/proc/self/stat").exists() or os.getppid() != pid
    return status.rpartition(")")[2].split()[0] in _STOPPED


if __name__ == "__main__":
    main()
