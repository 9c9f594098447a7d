"""A small HTTP/1.1 server on loopback: h11 reads and writes, asyncio carries the bytes.

Must stay true: what a client may make us hold is bounded (head, body, connections, all bodies
together), every wait for a client has a deadline, and a handler of requests never raises.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import h11
import msgspec

from perdure_host.lambda_json.body_budget import BodyBudget, check_body_size
from perdure_host.lambda_json.checkpoints import CHECKPOINT_BODY_BYTES_MAX
from perdure_host.lambda_json.failures import REQUEST_ID, Code, Failure, LambdaError, failure
from perdure_host.telemetry import new_request_id

HOST: Final = "127.0.0.1"
CONNECTIONS_MAX: Final = 4_096
HEAD_BYTES_MAX: Final = 65_536
# SDKs keep connections for the next call.
IDLE_S_MAX: Final = 300.0
BODY_S_MAX: Final = 60.0
WRITE_S_MAX: Final = 60.0
_READ_BYTES: Final = 65_536


class Request(msgspec.Struct, frozen=True):
    """One request; `target` is the path with its query, percent-encoded."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header by its name in lower case."""
        return next((value for key, value in self.headers if key == name), None)


class Answer(msgspec.Struct, frozen=True):
    """Response to the client."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


Respond = Callable[[Request], Awaitable[Answer]]
Admit = Callable[[Request], None]


def json_answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Return an answer in JSON."""
    kind = ("content-type", "application/json")
    return Answer(status, (kind, *(headers or {}).items()), msgspec.json.encode(body))


def failure_answer(refusal: Failure) -> Answer:
    """Return the answer of a failed call."""
    return json_answer(refusal.body, refusal.status, refusal.headers)


class HttpServer:
    """Serves one function of requests to answers. Belongs to a loop."""

    def __init__(self, respond: Respond, admit: Admit | None = None) -> None:
        """`admit` raises LambdaError for a head whose body is not to be read."""
        self._respond = respond
        self._admit = admit
        # Those that have asked nothing yet, or nothing since their last answer; oldest first.
        self._idle: dict[_Connection, None] = {}
        self.body_budget = BodyBudget()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen on a free port of loopback; return the URL."""
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return f"http://{HOST}:{port}"

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            if not self._idle:
                writer.close()
                return
            next(iter(self._idle)).abort()
        self._connections.add(task)
        connection = _Connection(self, reader, writer)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            # Only `close` cancels; asyncio would report it as an error of the connection.
            pass
        finally:
            self._idle.pop(connection, None)
            self._connections.discard(task)
            writer.close()

    def set_idle(self, connection: "_Connection", *, is_idle: bool) -> None:
        """Note whether a connection waits for a head."""
        self._idle.pop(connection, None)
        if is_idle:
            self._idle[connection] = None

    def admit(self, head: Request) -> None:
        """Raise LambdaError when the body of this request is not to be read."""
        if self._admit is not None:
            self._admit(head)

    async def answer(self, request: Request) -> Answer:
        """Return what a request is answered with."""
        return await self._respond(request)


class _Connection:
    def __init__(
        self, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)

    async def serve(self) -> None:
        """Answer one request after the other, until either side has had enough."""
        with contextlib.suppress(OSError, TimeoutError):
            while await self._serve_one():
                self._http.start_next_cycle()

    async def _serve_one(self) -> bool:
        reserved = 0
        try:
            self._server.set_idle(self, is_idle=True)
            async with asyncio.timeout(IDLE_S_MAX):
                head = await self._next(IDLE_S_MAX)
            self._server.set_idle(self, is_idle=False)
            if not isinstance(head, h11.Request):
                return False
            self._server.admit(_request(head, b""))
            body = bytearray()
            async with asyncio.timeout(BODY_S_MAX):
                while isinstance(part := await self._next(BODY_S_MAX), h11.Data):
                    check_body_size(len(body) + len(part.data), CHECKPOINT_BODY_BYTES_MAX)
                    self._server.body_budget.reserve(len(part.data))
                    reserved += len(part.data)
                    body += part.data
            if not isinstance(part, h11.EndOfMessage):
                return False
            await self._send(await self._server.answer(_request(head, bytes(body))))
        except h11.RemoteProtocolError as error:
            refusal = failure(Code.CONTENT_INVALID, f"no HTTP request: {error}")
            await self._send_last(failure_answer(refusal))
            return False
        except LambdaError as refused:
            # Before the body was read to its end: the connection closes.
            await self._send_last(failure_answer(failure(refused.code, str(refused))))
            return False
        finally:
            self._server.body_budget.release(reserved)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def abort(self) -> None:
        """Close the connection at once."""
        self._server.set_idle(self, is_idle=False)
        self._writer.transport.abort()

    async def _next(self, wait_s: float) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            async with asyncio.timeout(wait_s):
                self._http.receive_data(await self._reader.read(_READ_BYTES))

    async def _send(self, answer: Answer) -> None:
        length = ("content-length", str(len(answer.body)))
        headers = [*answer.headers, length]
        if all(name != REQUEST_ID for name, _ in headers):  # an answer passed on keeps its own
            headers.append((REQUEST_ID, new_request_id()))
        head = h11.Response(status_code=answer.status, headers=headers)
        await self._write(head, h11.Data(data=answer.body), h11.EndOfMessage())

    async def _send_last(self, answer: Answer) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            closing = Answer(answer.status, (*answer.headers, ("connection", "close")), answer.body)
            await self._send(closing)

    async def _write(self, *events: h11.Event) -> None:
        for event in events:
            self._writer.write(self._http.send(event) or b"")
        async with asyncio.timeout(WRITE_S_MAX):
            await self._writer.drain()


def _request(head: h11.Request, body: bytes) -> Request:
    headers = tuple(
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    )
    return Request(head.method.decode("ascii"), head.target.decode("latin-1"), headers, body)
