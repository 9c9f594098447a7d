"""Calls of handlers that are no checkpoints, passed on to the Lambda API of a node.

A call is passed on as it came, once: its caller decides whether to retry. A worker that
has a token shows it, since a node with tokens knows nothing else.
"""

import asyncio
import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from perdure_host.channel import ConnectionSettings
from perdure_host.errors import SettingsError
from perdure_host.lambda_json.failures import Code, LambdaError
from perdure_host.lambda_json.process_paths import split_path
from perdure_worker.hosting.api.http_server import Answer, Request

# A synchronous Invoke waits 15 minutes at most.
CALL_S_MAX: Final = 960.0
CALLS_MAX: Final = 256
ANSWER_BYTES_MAX: Final = 16 * 1_024 * 1_024

# They belong to one connection (RFC 9110, section 7.6.1), or are written again.
_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "content-length", "expect"),
    }
)


class LambdaProxy:
    """Passes calls on. Used from one loop."""

    def __init__(self, url: str, connection: ConnectionSettings) -> None:
        """Raise SettingsError when the URL or the TLS files are no such thing."""
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.path not in ("", "/")
        ):
            raise SettingsError(f"the Lambda endpoint {url!r} is not http(s)://HOST:PORT")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._token_file = connection.token_file
        self._tls = _tls(connection) if parts.scheme == "https" else None
        self._threads = ThreadPoolExecutor(CALLS_MAX, thread_name_prefix="perdure-forwarding")
        self._free = CALLS_MAX

    async def forward(self, request: Request) -> Answer:
        """Return the node's answer. Raises LambdaError when there is none."""
        if self._free == 0:
            raise LambdaError(Code.TOO_MANY, f"more than {CALLS_MAX} calls are under way")
        self._free -= 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._call, request)
        except (OSError, http.client.HTTPException) as error:
            text = f"the Lambda API at {self._host}:{self._port} does not answer: {error}"
            raise LambdaError(Code.SERVICE, text) from None
        finally:
            self._free += 1

    def close(self) -> None:
        """Pass nothing more on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _call(self, request: Request) -> Answer:
        connection = self._connection()
        try:
            connection.putrequest(
                request.method, self._target(request), skip_host=True, skip_accept_encoding=True
            )
            for name, value in self._headers(request):
                connection.putheader(name, value)
            connection.endheaders(request.body)
            response = connection.getresponse()
            body = response.read(ANSWER_BYTES_MAX + 1)
            if len(body) > ANSWER_BYTES_MAX:
                raise http.client.HTTPException(
                    f"an answer of more than {ANSWER_BYTES_MAX:,} bytes"
                )
            headers = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(
                response.status, tuple([each for each in headers if each[0] not in _HOP]), body
            )
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=CALL_S_MAX)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=CALL_S_MAX, context=self._tls
        )

    def _target(self, request: Request) -> str:
        """Return the path; where the signature counts, as it was signed."""
        split = None if self._token_file is None else split_path(request.target)
        return request.target if split is None else split.path

    def _headers(self, request: Request) -> list[tuple[str, str]]:
        headers = [each for each in request.headers if each[0] not in _HOP]
        if self._token_file is not None:
            token = Path(self._token_file).read_text(encoding="utf-8").strip()
            headers = [each for each in headers if each[0] != "authorization"]
            headers.append(("authorization", f"Bearer {token}"))
        return [*headers, ("content-length", str(len(request.body))), ("connection", "close")]


def _tls(connection: ConnectionSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=connection.tls_ca)
        if connection.tls_cert is not None:
            context.load_cert_chain(connection.tls_cert, connection.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"the TLS files for the Lambda endpoint cannot be used: {error}"
        ) from error
    return context
