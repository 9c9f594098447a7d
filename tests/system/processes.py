"""Real servers and workers, as processes that can be killed, for tests of the whole system.

Must stay true: readiness is polled, never slept for; every wait has a deadline; and only processes
started here are ever killed.
"""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
import httpx
import psutil
from grpc_health.v1 import health_pb2
from prometheus_client.parser import text_string_to_metric_families

from perdure import AsyncClient, Client
from perdure.client.errors import ClientError
from tests.ports import HeldPort

ROOT: Final = Path(__file__).parent.parent.parent
START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 60.0
COMMAND_S_MAX: Final = 60.0
POLL_S: Final = 0.02
LOG_CHARS_SHOWN: Final = 6_000


class Failed(AssertionError):
    """A process failed; the message contains its log."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Credentials as files; the same options work for servers, workers and clients."""

    token_file: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def options(self) -> list[str]:
        """Return the options of the command line."""
        return [
            text
            for name, path in vars(self).items()
            if path is not None
            for text in (f"--{name.replace('_', '-')}", str(path))
        ]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a client."""
        return {name: str(path) for name, path in vars(self).items() if path is not None}


NOBODY: Final = Credentials()


class Running:
    """One running process, and the log that it writes."""

    def __init__(
        self, name: str, arguments: list[str], log: Path, environment: dict[str, str]
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.kill()
        self._process.wait(STOP_S_MAX)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Stop it with SIGTERM; return its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        try:
            return self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"the {self.name} does not end\n{self.log_text()}") from None

    def log_text(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-LOG_CHARS_SHOWN:]

    def check(self) -> None:
        """Raise unless it still runs."""
        if self.exit_status is not None:
            raise Failed(f"the {self.name} ended with {self.exit_status}\n{self.log_text()}")


class Machine:
    """A database, the server on it, and its workers. Ports stay the same over restarts."""

    def __init__(
        self,
        folder: Path,
        db_url: str | None = None,
        *,
        secured: Credentials = NOBODY,
        known: Credentials = NOBODY,
        environment: dict[str, str] | None = None,
        command: Sequence[str] = ("perdure_cli",),
    ) -> None:
        """Prepare; `secured` are the server's credentials, `known` those of everybody else.

        `command` is the module that runs servers and workers, and its first arguments.
        """
        self.folder = folder
        self.db_url = db_url or f"sqlite:///{folder / 'perdure.db'}"
        self._ports = (HeldPort(), HeldPort())
        self.server_address, self.http_address = map(str, self._ports)
        self.known = known
        self._secured = secured
        self._environment = environment or {}
        self._command = command
        self._running: dict[str, Running] = {}
        self._logs: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for running in self._running.values():
            running.kill()
        for port in self._ports:
            port.close()

    def set_variable(self, name: str, value: str) -> None:
        """Set an environment variable of the processes that are started from now on."""
        self._environment = {**self._environment, name: value}

    def start_server(self, *options: str, ready: bool = True) -> Running:
        """Start the server; return once it serves, or at once without `ready`."""
        addresses = ("--grpc", self.server_address, "--http", self.http_address)
        server = self.start(
            "server", "server", "--db", self.db_url, *addresses, *self._secured.options(), *options
        )
        if ready:
            self.wait_until_serving()
        return server

    def start_worker(self, *modules: Path, name: str = "worker", slots: int = 100) -> Running:
        """Start a worker with the functions of modules; return at once."""
        connection = ("--server", self.server_address, *self.known.options())
        files = [str(module) for module in modules]
        return self.start(name, "worker", *files, *connection, "--slots", str(slots))

    def start(self, name: str, *arguments: str) -> Running:
        """Start any command, under a name that no running process has."""
        assert name not in self._running
        log = self.folder / f"{name}.log"
        if log not in self._logs:
            self._logs.append(log)
        whole = [*self._command, *arguments]
        self._running[name] = Running(name, whole, log, self._environment)
        return self._running[name]

    def kill(self, name: str) -> None:
        """Kill the process of this name with SIGKILL."""
        self._running.pop(name).kill()

    def stop(self, name: str) -> int:
        """Stop the process of this name; return its exit status."""
        return self._running.pop(name).stop()

    def wait_for_exit(self, name: str) -> int:
        """Wait until the process of this name has ended; return its exit status."""
        return self._running.pop(name).wait()

    def exit_status(self, name: str) -> int | None:
        """Return the exit status of the process of this name; None while it runs."""
        return self._running[name].exit_status

    def check(self) -> None:
        """Raise unless everything that was started still runs."""
        for running in self._running.values():
            running.check()

    def wait_until_serving(self) -> None:
        """Wait until the server is healthy."""
        server = self._running["server"]
        with health_channel(self.server_address, self.known) as channel:

            def is_up() -> bool:
                server.check()
                return is_serving(channel)

            wait_until(is_up, "the server serves", server)

    def wait_for_worker(self, function: str, name: str = "worker") -> None:
        """Wait until a worker serves the function."""
        worker = self._running[name]
        with self.client() as client:

            def is_attached() -> bool:
                worker.check()
                return function in {
                    each.function_name for each in client.list_functions() if each.workers_connected
                }

            wait_until(is_attached, f"a worker serves {function}", worker)

    def client(self) -> Client:
        """Return a client; the caller closes it."""
        return Client(self.server_address, **self.known.arguments())

    def async_client(self, patience_s: float = 60.0) -> AsyncClient:
        """Return a client of the running loop; the caller closes it."""
        return AsyncClient(self.server_address, patience_s=patience_s, **self.known.arguments())

    def perdure(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a client command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "perdure_cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "PERDURE_SERVER": self.server_address, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )

    def metrics(self) -> "Metrics":
        """Read the server's metrics. Raises httpx.HTTPError while it cannot answer."""
        return Metrics(self.http("/metrics").raise_for_status().text)

    def http(self, path: str, **headers: str) -> httpx.Response:
        """Send a request to the HTTP port, with the known token unless headers are given."""
        known = self.known
        if known.token_file is not None and not headers:
            headers = {"authorization": f"Bearer {known.token_file.read_text().strip()}"}
        trust: ssl.SSLContext | bool = False
        if known.tls_ca is not None:
            trust = ssl.create_default_context(cafile=known.tls_ca)
            if known.tls_cert is not None:
                trust.load_cert_chain(known.tls_cert, known.tls_key)
        url = f"{'https' if trust else 'http'}://{self.http_address}{path}"
        return httpx.get(url, headers=headers, verify=trust, trust_env=False)

    def memory_bytes(self) -> int:
        """Return the server's resident memory."""
        resident: int = psutil.Process(self._running["server"].pid).memory_info().rss
        return resident

    def cpu_s(self) -> float:
        """Return the server's processor time, which other processes cannot prolong."""
        spent = psutil.Process(self._running["server"].pid).cpu_times()
        return float(spent.user + spent.system)

    def logs_text(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-LOG_CHARS_SHOWN:]}"
            for log in self._logs
        )


class Metrics:
    """The metrics of a server at one moment."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]
        self.names = {sample.name for sample in self._samples}

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def wait_until(
    holds: Callable[[], bool],
    claim: str,
    running: Running | None = None,
    *,
    within_s: float = START_S_MAX,
) -> None:
    """Wait until `holds()`; raise if it does not within so many seconds."""
    deadline_s = time.monotonic() + within_s
    pause = threading.Event()
    while time.monotonic() < deadline_s:
        if holds():
            return
        pause.wait(POLL_S)
    raise Failed(f"not so after {within_s} s: {claim}\n{running.log_text() if running else ''}")


def is_serving(channel: grpc.Channel) -> bool:
    """Return whether the server is healthy."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = check(health_pb2.HealthCheckRequest(), timeout=0.5, wait_for_ready=True)
    except grpc.RpcError:
        return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


@contextlib.contextmanager
def health_channel(address: str, known: Credentials) -> Generator[grpc.Channel]:
    """Open a channel that reconnects at once."""
    options = (
        ("grpc.initial_reconnect_backoff_ms", 20),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 50),
    )
    if known.tls_ca is None:
        channel = grpc.insecure_channel(address, options)
    else:
        files = (known.tls_key, known.tls_cert)
        key, certificate = (None if file is None else file.read_bytes() for file in files)
        trust = grpc.ssl_channel_credentials(known.tls_ca.read_bytes(), key, certificate)
        channel = grpc.secure_channel(address, trust, options)
    try:
        yield channel
    finally:
        channel.close()


def raised(call: Callable[[], object]) -> type[ClientError] | None:
    """Return the class of the error that a call raised."""
    try:
        call()
    except ClientError as error:
        return type(error)
    return None
