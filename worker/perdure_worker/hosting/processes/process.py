"""Process of a handler, as the worker sees it: start, events, end. Belongs to a loop.

    starting ──ready──▶ idle ──event──▶ busy ──answer──▶ idle
        └── init failed, too slow ──┐      └── too slow ──┐
                                    ▼                     ▼
    from everywhere, when it exits: ended

Must stay true: a caller that waits for a process is notified of its end; what its Python printed
before an answer is in the log before the answer counts; and a process that has ended leaves no
child of its own group.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.log_lines import LINE_CHARS_MAX, LineFormat, LogFormatter
from perdure_worker.hosting.processes.frames import (
    HEADER,
    BrokenFrame,
    FromProcess,
    InitFailed,
    Invoke,
    Line,
    Printed,
    Raised,
    Ready,
    Returned,
    Started,
    frame,
    from_process,
    length,
)

# How long imports of a handler may take. A cold machine needs seconds for an AWS SDK.
INIT_S_MAX: Final = 60.0
# How long the end of a killed process and its last output may take.
END_S_MAX: Final = 5.0
_READ_BYTES: Final = 65_536

Write = Callable[[str], None]
OnRequest = Callable[[str | None], None]


def _ignore_request(_request_id: str | None) -> None:
    """Do nothing: no access depends on what the process runs."""


class Exited(msgspec.Struct, frozen=True):
    """The process ended by itself or was killed; negative is a signal's number."""

    status: int


class TimedOut(msgspec.Struct, frozen=True):
    """The handler did not return in time, and its process was killed."""

    after_s: float


class InitTimedOut(msgspec.Struct, frozen=True):
    """The handler was not imported in time, and its process was killed."""

    after_s: float


class NotStarted(msgspec.Struct, frozen=True):
    """The process has ended before the event reached it: another one may take it."""


Start = Ready | InitFailed | Exited | InitTimedOut
End = Returned | Raised | Exited | TimedOut | NotStarted


class HandlerProcess:
    """One process; `start` it first."""

    def __init__(
        self,
        definition: HostedDefinition,
        environment: dict[str, str],
        line_format: LineFormat,
        write: Write,
        on_request: OnRequest = _ignore_request,
    ) -> None:
        """`on_request` hears which request the process runs, and None when it has ended."""
        self.definition = definition
        # Its tenant, where tenants are isolated.
        self.tenant_id: str | None = None
        self._environment = environment
        self._format = line_format
        self._lines = LogFormatter(line_format, definition.settings.name)
        self._write = write
        self._on_request = on_request
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[FromProcess] = asyncio.Queue()
        self._request_id = ""
        self._started = False
        self._printed = _Splitter()
        # What programs print that the handler starts.
        self._piped = _Splitter()
        self._process: asyncio.subprocess.Process | None = None
        # Its number may belong to another process once it is collected.
        self._collected = False
        self._exited: asyncio.Future[int] = self._loop.create_future()

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._exited.done()

    async def start(self, init_s: float = INIT_S_MAX) -> Start:
        """Start the process, and wait until its handler is imported. Raises OSError."""
        await self._spawn()
        try:
            async with asyncio.timeout(init_s):
                answer = await self._next()
        except TimeoutError:
            await self.kill()
            return InitTimedOut(init_s)
        except asyncio.CancelledError:
            self._kill_group()
            raise
        if isinstance(answer, Ready | Exited):
            return answer
        await self.kill()
        return answer if isinstance(answer, InitFailed) else Exited(-signal.SIGKILL)

    async def invoke(self, event: Invoke) -> End:
        """Send the handler an event; wait for its answer, its end, or its timeout."""
        self._on_request(event.request_id)
        try:
            return await self._run(event)
        finally:
            self._on_request(None)

    async def _run(self, event: Invoke) -> End:
        self._request_id, self._started = event.request_id, False
        timeout_s = self.definition.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(OSError):
                    self._writer.write(frame(event))
                    await self._writer.drain()
                answer = await self._next()
                if isinstance(answer, Started):
                    self._started = True
                    answer = await self._next()
        except TimeoutError:
            await self.kill()
            return TimedOut(timeout_s)
        except asyncio.CancelledError:
            self._kill_group()
            raise
        if isinstance(answer, Returned | Raised):
            return answer
        if not isinstance(answer, Exited):
            await self.kill()
            return Exited(-signal.SIGKILL)
        return answer if self._started else NotStarted()

    async def kill(self) -> None:
        """End the process and its group, and wait until it has."""
        self._kill_group()
        if self._process is not None:
            await asyncio.wait((self._exited,), timeout=END_S_MAX)

    def log(self, text: str, level: str = "ERROR") -> None:
        """Log a message of the worker itself about this process."""
        self._write(
            self._lines.plain(text, self._request_id, time.time(), level, logger="platform")
        )

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        output, printed = os.pipe()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-u", "-P", "-m", "perdure_worker.hosting.processes.child"),
                    *(str(theirs.fileno()), str(self._format)),
                    cwd=self.definition.folder,
                    env=self._environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=printed,
                    stderr=printed,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            os.close(output)
            raise
        finally:
            os.close(printed)
        os.set_blocking(output, False)
        self._output = output
        self._loop.add_reader(output, self._drain_output)
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._living = self._loop.create_task(self._live(self._process, reader))

    async def _live(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader
    ) -> None:
        """Receive what the process sends until it has ended, then clean up."""
        hearing = self._loop.create_task(self._hear(reader))
        status = await process.wait()
        # What it started and left behind ends with it, as everything in a sandbox does.
        self._kill_group()
        self._collected = True
        await asyncio.wait((hearing,), timeout=END_S_MAX)
        hearing.cancel()
        self._drain_output()
        self._loop.remove_reader(self._output)
        os.close(self._output)
        self._end_lines()
        self._writer.close()
        self._exited.set_result(status)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                size = length(await reader.readexactly(HEADER.size))
                message = from_process(await reader.readexactly(size))
                self._drain_output()
                self._heard(message)
        except (asyncio.IncompleteReadError, OSError):
            return
        except BrokenFrame as error:
            self.log(f"the process broke its protocol: {error}")
            self._kill_group()

    def _heard(self, message: FromProcess) -> None:
        match message:
            case Line(text):
                self._write(text)
            case Printed(data):
                self._print(self._printed.split(data))
            case Returned() | Raised():
                # What comes later belongs to the next request.
                self._end_lines()
                self._answers.put_nowait(message)
            case _:
                self._answers.put_nowait(message)

    async def _next(self) -> FromProcess | Exited:
        """Return the next answer; what was sent before an exit comes first."""
        if self._answers.empty():
            taking = self._loop.create_task(self._answers.get())
            try:
                await asyncio.wait((taking, self._exited), return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    return taking.result()
            finally:
                taking.cancel()
        if not self._answers.empty():
            return self._answers.get_nowait()
        return Exited(self._exited.result())

    def _drain_output(self) -> None:
        """Write what was printed so far, line by line."""
        while True:
            try:
                chunk = os.read(self._output, _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            if not chunk:
                self._loop.remove_reader(self._output)
                return
            self._print(self._piped.split(chunk))

    def _end_lines(self) -> None:
        self._print([self._printed.rest(), self._piped.rest()])

    def _print(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            if text:
                self._write(self._lines.plain(text, self._request_id, time.time()))

    def _kill_group(self) -> None:
        if self._process is None or self._collected:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


class _Splitter:
    """Cuts what comes in pieces into lines; what has no end is cut at LINE_CHARS_MAX."""

    def __init__(self) -> None:
        self._partial = b""

    def split(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete by now."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        while len(self._partial) > LINE_CHARS_MAX:
            lines.append(self._partial[:LINE_CHARS_MAX])
            self._partial = self._partial[LINE_CHARS_MAX:]
        return lines

    def rest(self) -> bytes:
        """Return the unfinished line, and start an empty one."""
        rest, self._partial = self._partial, b""
        return rest
