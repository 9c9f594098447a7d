"""File sink of status-change events: appends one line of JSON for each.

Lines are only ever appended, and synced before they count as delivered. Must stay true: whatever
happened to an earlier attempt or process, a delivered event is a whole line of its own. Half a line
that a crash or a full disk has left stays where it is, ended by a line feed; readers of the file
may have read it already, so nothing is ever removed.

Log rotation may rename, delete or truncate the file; the next append notices.
"""

import asyncio
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from perdure_host.errors import SettingsError, SinkError
from perdure_host.ports import StatusEvent

# Events contain names of executions: only the file's group may read them.
FILE_MODE: Final = 0o640
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_LINE_FEED: Final = b"\n"


class StatusFile:
    """The port `StatusSink`, in a file that this process and its successors append to."""

    def __init__(self, path: str) -> None:
        """Open or create the file. Raises SettingsError."""
        self._path = Path(path)
        self._file: int | None = None
        # A cancelled delivery may leave its thread running.
        self._lock = threading.Lock()
        try:
            self._open()
        except OSError as error:
            raise SettingsError(
                f"cannot write status-change events to {path}: {self._reason(error)}"
            ) from error

    async def deliver(self, events: Sequence[StatusEvent]) -> None:
        lines = b"".join([event.body + _LINE_FEED for event in events])
        try:
            await asyncio.to_thread(self._append, lines)
        except OSError as error:
            raise SinkError(f"cannot append to {self._path}: {self._reason(error)}") from error

    def close(self) -> None:
        """Close the file, once an append in progress is over."""
        with self._lock:
            self._close()

    def _append(self, lines: bytes) -> None:
        with self._lock:
            try:
                file = self._current()
                _write(file, _LINE_FEED + lines if _is_torn(file) else lines)
                os.fsync(file)
            except OSError:
                # After a failed sync the state of this descriptor is unknown.
                self._close()
                raise

    def _current(self) -> int:
        """Return a descriptor of the file that is at the path now. Raises OSError."""
        if self._file is not None and not _is_at_path(self._file, self._path):
            self._close()
        return self._open() if self._file is None else self._file

    def _open(self) -> int:
        file = self._file = os.open(self._path, _FLAGS, FILE_MODE)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            self._close()
            raise OSError("it is not a regular file")
        _sync_folder(self._path.parent)
        return file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _reason(self, error: OSError) -> str:
        folder = self._path.absolute().parent
        if isinstance(error, FileNotFoundError) and not folder.exists():
            return f"the folder {folder} does not exist"
        return error.strerror or str(error)


def _is_at_path(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _is_torn(file: int) -> bool:
    """Return whether the file ends within a line."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != _LINE_FEED


def _write(file: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_folder(folder: Path) -> None:
    """Make the file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
