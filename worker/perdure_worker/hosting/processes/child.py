"""The process of one handler: `python -m perdure_worker.hosting.processes.child FD FORMAT`.

It takes one event after the other from the worker and calls the handler on its main thread, as
Lambda's runtime does. When the worker closes the socket, or dies, the process ends at once.

Must stay true: standard output and error belong to the handler. What Python prints takes the same
way as log records and the answers, so that it keeps its place among them; what other
programs print goes to the pipe that is the real standard output.
"""

import contextlib
import io
import logging
import os
import queue
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from perdure_worker.hosting.log_lines import LineFormat, LogFormatter
from perdure_worker.hosting.processes.frames import (
    HEADER,
    FromProcess,
    HandlerError,
    InitFailed,
    Invoke,
    Line,
    Printed,
    Raised,
    Ready,
    Returned,
    Started,
    frame,
    length,
    to_process,
)
from perdure_worker.hosting.processes.handlers import (
    Handler,
    HandlerFailed,
    call_handler,
    error_of,
    load_handler,
)
from perdure_worker.hosting.processes.lambda_context import LambdaContext, read_client_context

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

TRACE_VARIABLE: Final = "_X_AMZN_TRACE_ID"
PRINTED_BYTES_MAX: Final = 1_048_576
# Lambda's status for a process whose handler could not be imported.
EXIT_INIT_FAILED: Final = 1


class Channel:
    """The socket to the worker; messages are sent whole, from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: FromProcess) -> None:
        """Send a message after all that was printed. Without a worker the process ends."""
        # A handler may have put anything in their place.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        self.transmit(message)

    def transmit(self, message: FromProcess) -> None:
        """Send a message at once."""
        data = frame(message)
        with self._sending:
            try:
                self._connection.sendall(data)
            except OSError:
                os._exit(0)

    def receive(self) -> Invoke | None:
        """Return the next event; None when the worker has closed the socket."""
        header = self._read(HEADER.size)
        body = None if header is None else self._read(length(header))
        return None if body is None else to_process(body)

    def _read(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            chunk = self._connection.recv(min(size - len(data), 1_048_576))
            if not chunk:
                return None
            data += chunk
        return bytes(data)


class Output(io.RawIOBase):
    """Raw stream below Python's standard streams: sends all that is written to the worker."""

    def __init__(self, channel: Channel, number: int) -> None:
        super().__init__()
        self._channel = channel
        self._number = number

    def writable(self) -> bool:
        """Return True: it can be written to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that can be passed to other programs."""
        return self._number

    def write(self, data: "Buffer", /) -> int:
        """Send what is written."""
        written = bytes(data)
        for start in range(0, len(written), PRINTED_BYTES_MAX):
            self._channel.transmit(Printed(written[start : start + PRINTED_BYTES_MAX]))
        return len(written)


class LogHandler(logging.Handler):
    """Sends log records to the worker, with the request that they belong to."""

    def __init__(self, channel: Channel, lines: LogFormatter) -> None:
        super().__init__()
        self.request_id = ""
        self.tenant_id: str | None = None
        self._channel = channel
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Send the line."""
        try:
            line = self._lines.of_record(record, self.request_id, self.tenant_id)
        except Exception:  # noqa: BLE001 - logging's own rule: a record never breaks the program
            self.handleError(record)
        else:
            self._channel.send(Line(line))


def main() -> None:
    """Serve events until there is no worker any more."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    channel = Channel(connection)
    sys.stdout = _stream(Output(channel, 1))
    sys.stderr = _stream(Output(channel, 2))
    lines = LogFormatter(LineFormat(sys.argv[2]), os.environ["AWS_LAMBDA_FUNCTION_NAME"])
    log = LogHandler(channel, lines)
    root = logging.getLogger()
    root.addHandler(log)
    root.setLevel(_level(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")))
    # That the endpoint is the worker's own is no news.
    logging.getLogger("botocore.configprovider").setLevel(logging.WARNING)
    # The code of the function comes before what is installed; this runtime is imported by now.
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    handler = _handler(channel)
    events: queue.SimpleQueue[Invoke] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, events), daemon=True).start()
    channel.send(Ready())
    while True:
        _serve(channel, log, handler, events.get())


def _stream(output: Output) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(output), "utf-8", "backslashreplace", line_buffering=True
    )


def _handler(channel: Channel) -> Handler:
    try:
        return load_handler(os.environ["_HANDLER"])
    except HandlerFailed as failed:
        _fail(channel, failed.error)
    except Exception as error:  # noqa: BLE001 - whatever a module raises is reported
        _fail(channel, error_of(error))


def _fail(channel: Channel, error: HandlerError) -> NoReturn:
    channel.send(InitFailed(error))
    sys.exit(EXIT_INIT_FAILED)


def _listen(channel: Channel, events: "queue.SimpleQueue[Invoke]") -> None:
    """Pass events on; a worker that is gone ends the process, whatever the handler does."""
    try:
        while (event := channel.receive()) is not None:
            events.put(event)
    finally:
        os._exit(0)


def _serve(channel: Channel, log: LogHandler, handler: Handler, event: Invoke) -> None:
    """Call the handler. SystemExit and its like end the process, as on Lambda."""
    log.request_id, log.tenant_id = event.request_id, event.tenant_id
    _tell_trace(event.trace_header)
    channel.send(Started())
    context = LambdaContext(
        event.request_id,
        event.function_arn,
        event.deadline_ms,
        event.tenant_id,
        read_client_context(event.client_context),
    )
    try:
        answer: Returned | Raised = Returned(call_handler(handler, event.event, context))
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is an answer
        answer = Raised(error_of(error))
    channel.send(answer)


def _tell_trace(header: str | None) -> None:
    """Put the trace header where Lambda's runtime puts it, for X-Ray and OpenTelemetry."""
    if header is None:
        os.environ.pop(TRACE_VARIABLE, None)
    else:
        os.environ[TRACE_VARIABLE] = header


def _level(name: str) -> int:
    """Return the level of a name; TRACE is DEBUG, and an unknown one INFO."""
    known = logging.getLevelNamesMapping()
    return known.get({"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(name.upper(), name.upper()), 20)


if __name__ == "__main__":
    main()
