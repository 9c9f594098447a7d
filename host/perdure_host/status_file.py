"""A file of JSON lines as the sink of status-change events.

Lines are only ever appended, and synced before they count as told. Must stay true: whatever became
of an earlier attempt or of an earlier process, a line that was told begins at the start of a line
and is whole. Half a line that a crash or a full disk has left stays where it is, ended by a line
feed; followers of the file may have read it already, so nothing is ever taken back.

Whoever rotates the file may rename, delete or truncate it; the next append finds that out.
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

# Events name executions: whoever is to read them belongs to the file's group.
FILE_MODE: Final = 0o640
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_LINE_FEED: Final = b"\n"


class StatusFile:
    """The port `StatusSink`, in a file that this process and its successors append to."""

    def __init__(self, path: str) -> None:
        """Open the file, or make it. Raises SettingsError."""
        self._path = Path(path)
        self._file: int | None = None
        # One who was cancelled may leave its thread behind.
        self._alone = threading.Lock()
        try:
            self._open()
        except OSError as error:
            raise SettingsError(
                f"cannot write status-change events to {path}: {self._reason(error)}"
            ) from error

    async def tell(self, events: Sequence[StatusEvent]) -> None:
        lines = b"".join([event.body + _LINE_FEED for event in events])
        try:
            await asyncio.to_thread(self._append, lines)
        except OSError as error:
            raise SinkError(f"cannot append to {self._path}: {self._reason(error)}") from error

    def close(self) -> None:
        """Let go of the file, once an append under way is over."""
        with self._alone:
            self._let_go()

    def _append(self, lines: bytes) -> None:
        with self._alone:
            try:
                file = self._current()
                _write(file, _LINE_FEED + lines if _is_torn(file) else lines)
                os.fsync(file)
            except OSError:
                # After a failed sync nobody knows what this descriptor still stands for.
                self._let_go()
                raise

    def _current(self) -> int:
        """Return the file that has the name now. Raises OSError."""
        if self._file is not None and not _has_name(self._file, self._path):
            self._let_go()
        return self._open() if self._file is None else self._file

    def _open(self) -> int:
        file = self._file = os.open(self._path, _FLAGS, FILE_MODE)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            self._let_go()
            raise OSError("it is not a regular file")
        _sync_folder(self._path.parent)
        return file

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _reason(self, error: OSError) -> str:
        folder = self._path.absolute().parent
        if isinstance(error, FileNotFoundError) and not folder.exists():
            return f"the folder {folder} does not exist"
        return error.strerror or str(error)


def _has_name(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _is_torn(file: int) -> bool:
    """Tell whether the file ends within a line."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != _LINE_FEED


def _write(file: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_folder(folder: Path) -> None:
    """Make the file's name as durable as what is in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
