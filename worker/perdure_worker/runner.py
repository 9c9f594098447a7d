"""The life of a worker process: connect, serve, reconnect, drain, return an exit code.

    connect ──registered──▶ serve ──stream breaks──▶ connect …   handlers go on meanwhile
       │                      │
       └─ fatal refusal ──────┴──▶ 1        stop ──▶ drain ──▶ hand the rest back ──▶ 0

A worker never gives up on a server that may come back; it does on one that will not have it.
"""

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import grpc

from perdure.worker_api import RegisteredFunction, running_attempts
from perdure_host.backoff import backoff_ms
from perdure_host.channel import open_aio_channel, problem_of_port
from perdure_host.errors import SettingsError
from perdure_host.server_address import connection_problem
from perdure_proto.v1 import worker_pb2
from perdure_worker.draining import countdown_s, unfinished_lines
from perdure_worker.invocations.running import RunningInvocations
from perdure_worker.liveness.keeper import Keeper
from perdure_worker.metrics.metrics import WorkerMetrics
from perdure_worker.metrics.server import MetricsServer
from perdure_worker.session.call_failures import is_fatal
from perdure_worker.session.replies import BACKOFF_MS_MAX, ReplyHandler
from perdure_worker.session.session import FINISH_S_MAX, Session, SessionEnd
from perdure_worker.settings import WorkerSettings

__all__ = ["WorkerSettings", "run_worker"]

EXIT_STOPPED: Final = 0
EXIT_FATAL: Final = 1

# How long the answers of calls in flight may take before what they concern is left to the server.
HAND_BACK_S_MAX: Final = 2.0
# A session that has lasted so long counts as good: the next waits start short again.
STEADY_S_MIN: Final = 1.0
_HOST_CHARS_MAX: Final = 80

_log = logging.getLogger("perdure.worker")


async def run_worker(
    functions: Sequence[RegisteredFunction],
    settings: WorkerSettings,
    *,
    stop: asyncio.Event,
    ready: Callable[[], None] | None = None,
) -> int:
    """Serve `functions` until `stop` is set or a server refuses us for good; return the exit code.

    `ready` is called once, when a server has accepted us for the first time. Raises SettingsError
    when the metrics cannot be served.
    """
    metrics = WorkerMetrics()
    port = settings.metrics
    metrics_server = None if port is None else MetricsServer(port, metrics.registry)
    try:
        return await _Worker(functions, settings, metrics, ready).run(stop)
    finally:
        if metrics_server is not None:
            metrics_server.close()


class _Worker:
    def __init__(
        self,
        functions: Sequence[RegisteredFunction],
        settings: WorkerSettings,
        metrics: WorkerMetrics,
        ready: Callable[[], None] | None,
    ) -> None:
        self._functions = {function.settings.name: function for function in functions}
        self._settings = settings
        self._metrics = metrics
        self._ready = ready
        self._worker_id = settings.worker_id or _new_worker_id()
        self._running = RunningInvocations(
            self._functions,
            worker_id=self._worker_id,
            slots=settings.slots,
            metrics=metrics,
            client_token_prefix=secrets.token_hex(8),
        )
        self._chance: Callable[[], float] = random.random
        self._replies = ReplyHandler(
            self._running, metrics, monotonic_s=time.monotonic, chance=self._chance
        )
        self._keeper = Keeper(settings.connection, self._worker_id)
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._sessions = 0
        self._failures = 0
        # What the server last said about the token, until it takes one.
        self._refusal = ""
        self._finishing = False

    async def run(self, stop: asyncio.Event) -> int:
        serving = asyncio.create_task(self._serve())
        draining = asyncio.create_task(self._drain(stop))
        try:
            await asyncio.wait((serving, draining), return_when=asyncio.FIRST_COMPLETED)
            if draining.done():
                draining.result()
            if not serving.done():
                await self._finish(serving)
            return EXIT_STOPPED if serving.cancelled() else serving.result()
        finally:
            serving.cancel()
            draining.cancel()
            await asyncio.gather(serving, draining, return_exceptions=True)
            self._running.close()
            self._keeper.close()

    async def _serve(self) -> int:
        """Hold sessions, one after the other, until the last one."""
        while True:
            opened_s = self._loop.time()
            try:
                end = await self._hold_session()
            except SettingsError as error:
                _log.error("%s", error)
                return EXIT_FATAL
            problem = await self._permanent_problem(end)
            if problem is not None:
                _log.error("no connection to %s: %s", self._settings.connection.server, problem)
                return EXIT_FATAL
            if is_fatal(end.code, registered=end.registered) and not self._may_get_a_token(end):
                _log.error(
                    "%s refuses this worker: %s (%s)",
                    self._settings.connection.server,
                    end.details,
                    end.code.name,
                )
                return EXIT_FATAL
            if self._finishing:
                return EXIT_STOPPED
            self._count_failure(end, self._loop.time() - opened_s)
            wait_ms = backoff_ms(self._failures, self._chance(), ms_max=BACKOFF_MS_MAX)
            await asyncio.sleep(wait_ms / 1_000)

    async def _permanent_problem(self, end: SessionEnd) -> str | None:
        """Return why there can be no connection, in words, if there has been none yet."""
        if self._sessions or end.code is not grpc.StatusCode.UNAVAILABLE:
            return None
        connection = self._settings.connection
        problem = connection_problem(end.details)
        if problem is not None and not problem.permanent:
            problem = await asyncio.to_thread(problem_of_port, connection, end.details)
        return None if problem is None else problem.description

    def _may_get_a_token(self, end: SessionEnd) -> bool:
        """Return whether a server that knew the token of this worker may know its next one."""
        has_file = self._settings.connection.token_file is not None
        return end.code is grpc.StatusCode.UNAUTHENTICATED and has_file and self._sessions > 0

    async def _hold_session(self) -> SessionEnd:
        async with open_aio_channel(self._settings.connection) as channel:
            self._session = Session(
                self._running, self._replies, self._registration(), self._registered
            )
            try:
                return await self._session.run(channel)
            finally:
                self._session = None

    async def _drain(self, stop: asyncio.Event) -> None:
        """After a stop: let running handlers end, then hand back what has not."""
        await stop.wait()
        self._running.stop_accepting()
        if not self._running.count:
            return
        left_s = self._settings.grace_s
        _log.info(
            "stopping: %d invocations may go on for %g s, the grace; new ones are not taken",
            self._running.count,
            left_s,
        )
        for next_s in countdown_s(left_s):
            if await _in_time(self._running.wait_idle(), left_s - next_s):
                return
            left_s = next_s
            if left_s:
                _log.info(
                    "stopping: %d invocations still run, %g s are left", self._running.count, left_s
                )
        attempts = running_attempts()
        handed_back = self._running.hand_back_all()
        _log.warning(
            "stopping: the grace is over, and %d invocations are handed back", len(handed_back)
        )
        for line in unfinished_lines(handed_back, attempts):
            _log.warning("%s", line)
        await _in_time(self._running.wait_idle(), HAND_BACK_S_MAX)

    async def _finish(self, serving: "asyncio.Task[int]") -> None:
        self._finishing = True
        if self._session is not None and self._session.registered:
            self._session.finish()
            await asyncio.wait((serving,), timeout=2 * FINISH_S_MAX)
        if not serving.done():
            serving.cancel()
            await asyncio.wait((serving,))

    def _registered(self) -> None:
        assert self._session is not None
        self._keeper.watch(self._session.heartbeat_interval_s)
        self._sessions += 1
        self._refusal = ""
        if self._sessions > 1:
            self._metrics.reconnects.inc()
        _log.info(
            "connected to %s as %s, serving %s",
            self._settings.connection.server,
            self._worker_id,
            ", ".join(self._functions),
        )
        if self._sessions == 1 and self._ready is not None:
            self._ready()

    def _count_failure(self, end: SessionEnd, lasted_s: float) -> None:
        # A server that accepts and breaks at once must not be reconnected to without a delay.
        steady = end.registered and lasted_s >= STEADY_S_MIN
        self._failures = 1 if steady else self._failures + 1
        # Once for each outage, not for each attempt.
        if end.code is grpc.StatusCode.UNAUTHENTICATED:
            self._log_refused_token(end)
        elif end.registered or self._failures == 1:
            problem = connection_problem(end.details)
            _log.warning(
                "no server at %s (%s: %s); trying until there is one%s",
                self._settings.connection.server,
                end.code.name,
                end.details if problem is None else problem.description,
                f", while {self._running.count} invocations go on" if self._running.count else "",
            )

    def _log_refused_token(self, end: SessionEnd) -> None:
        if end.details != self._refusal:
            _log.error(
                "%s refuses the token of this worker: %s; trying until %s holds another",
                self._settings.connection.server,
                end.details,
                self._settings.connection.token_file,
            )
        self._refusal = end.details

    def _registration(self) -> worker_pb2.RegisterRequest:
        return worker_pb2.RegisterRequest(
            worker_id=self._worker_id,
            functions=[
                worker_pb2.FunctionDefinition(
                    function_name=function.settings.name,
                    execution_timeout_seconds=function.settings.execution_timeout_s,
                    retention_days=function.settings.retention_days,
                    durable=function.durable,
                    tenant_isolation=function.settings.tenant_isolation,
                )
                for function in self._functions.values()
            ],
            slots=self._settings.slots,
            claims=self._running.claims(),
            sdk=f"perdure-python/{_sdk_version()}",
        )


async def _in_time(waiting: Awaitable[None], seconds: float) -> bool:
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True


def _new_worker_id() -> str:
    host = "".join(
        c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in socket.gethostname()
    )
    return f"{host[:_HOST_CHARS_MAX]}:{os.getpid()}:{secrets.token_hex(4)}"


def _sdk_version() -> str:
    try:
        return version("perdure")
    except PackageNotFoundError:
        return "unknown"
