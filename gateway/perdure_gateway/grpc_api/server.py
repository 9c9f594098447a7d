"""The gRPC server of a node: its port, its services, and the order in which they start and stop.

listen ──▶ start (refusing calls) ──▶ open ──▶ drain ──▶ stop
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, cast

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from perdure_gateway.admission import overload as overloads
from perdure_gateway.admission.memory_budget import MemoryBudget
from perdure_gateway.admission.overload import Overload
from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_gateway.grpc_api.callback_service import CallbackService
from perdure_gateway.grpc_api.execution_service import ExecutionService
from perdure_gateway.grpc_api.interceptors import AccessInterceptor, StatusInterceptor
from perdure_gateway.grpc_api.node_service import Node, NodeService
from perdure_gateway.grpc_api.open_calls import OpenCalls
from perdure_gateway.grpc_api.worker_service import WorkerService
from perdure_gateway.workers.registry import WORKERS_MAX, WorkerRegistry, WorkerSettings
from perdure_host.access.audit import Audit
from perdure_host.access.bearer_tokens import Tokens
from perdure_host.channel import SERVER_OPTIONS
from perdure_host.credentials import TlsFiles, grpc_credentials
from perdure_host.errors import SettingsError
from perdure_host.gc_tuning import freeze_startup_objects, unfreeze
from perdure_host.listen import Address
from perdure_host.metrics import ServerMetrics
from perdure_host.open_files import open_files_max
from perdure_host.ports import Clock
from perdure_host.services import History, Matching
from perdure_host.telemetry import open_log
from perdure_proto.v1 import (
    client_pb2,
    client_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    worker_pb2,
    worker_pb2_grpc,
)

# Those of clients are bounded before (`admission/overload.py`): what is left is for workers.
CALLS_MAX: Final = overloads.CALLS_MAX + 2 * WORKERS_MAX
# How long calls in flight may take to be answered when the node stops.
DRAIN_S_MAX: Final = 5.0
STOP_S_MAX: Final = 1.0
WATCH_S: Final = 1.0

_log = open_log("perdure.gateway")


def connections_max() -> int:
    """Return how many connections the port may have: so many that files are left for the rest."""
    return open_files_max() * 5 // 8


class _RegisteringStarts:
    """A server to which generated code adds its handlers, but registering few methods.

    For each registered method grpc.aio keeps a task that waits for the next call, and scans the
    tasks of all methods at each call. In return gRPC has a queue of its own for the calls of it
    that are not taken yet: calls of workers and callbacks do not stand behind starts.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers
        self._register = server.add_registered_method_handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register those that come in masses; the generic handlers find all others by name."""
        starts = {name: handler for name, handler in handlers.items() if name in _IN_MASSES}
        if starts:
            self._register(service, starts)


class GrpcServer:
    """The gRPC port for clients, workers and other nodes."""

    def __init__(
        self,
        readiness: Readiness,
        tokens: Tokens | None,
        audit: Audit | None = None,
        overload: Overload | None = None,
    ) -> None:
        self._readiness = readiness
        self._tokens = tokens
        self._calls = OpenCalls()
        self._audit = audit or Audit()
        self._overload = overload or Overload()
        self._server = grpc.aio.server(
            interceptors=[
                AccessInterceptor(tokens, self._calls, self._audit),
                StatusInterceptor(readiness, self._calls, self._audit, self._overload),
            ],
            options=(
                *SERVER_OPTIONS,
                ("grpc.max_allowed_incoming_connections", connections_max()),
            ),
            maximum_concurrent_rpcs=CALLS_MAX,
        )
        self._watches: list[asyncio.Task[None]] = []
        self._health = health.aio.HealthServicer()
        self._budget = MemoryBudget()
        self._registry: WorkerRegistry | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, address: Address, tls: TlsFiles | None) -> Address:
        """Bind the port; return the address with its real port. Raises SettingsError."""
        try:
            if tls is None:
                port = self._server.add_insecure_port(str(address))
            else:
                port = self._server.add_secure_port(str(address), grpc_credentials(tls))
        except RuntimeError as error:
            raise SettingsError(
                f"cannot listen on {address} for gRPC: the port is in use or the host is not local"
            ) from error
        return Address(address.host, port)

    async def start(
        self,
        history: History,
        matching: Matching,
        clock: Clock,
        node: Node,
        *,
        metrics: ServerMetrics,
        settings: WorkerSettings,
    ) -> WorkerRegistry:
        """Start to answer; calls are refused until `open`."""
        registry = WorkerRegistry(
            history.invocations,
            history.queries,
            matching,
            clock,
            self._readiness,
            metrics=metrics,
            settings=settings,
            budget=self._budget,
        )
        self._registry = registry
        self._overload.watch_queues(matching)
        server = cast("grpc.aio.Server", _RegisteringStarts(self._server))
        client_pb2_grpc.add_ExecutionServiceServicer_to_server(
            ExecutionService(history, matching, self._readiness, self._budget, self._overload),
            server,
        )
        client_pb2_grpc.add_CallbackServiceServicer_to_server(
            CallbackService(history.commands, self._budget), server
        )
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(WorkerService(registry), server)
        node_pb2_grpc.add_NodeServiceServicer_to_server(NodeService(node, self._readiness), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        # The function of gRPC that does this takes any other object for a server of threads.
        # Its generated code is published without types.
        cast("Any", reflection_pb2_grpc).add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(
                [*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME]
            ),
            server,
        )
        await self._set_health()
        await self._server.start()
        measuring = self._overload.measure(lambda: history.commit_delay_s)
        for watch in (self._watch_callers(), measuring):
            self._watches.append(asyncio.get_running_loop().create_task(watch))
        return registry

    async def open(self) -> None:
        """Admit calls. Everything that a node consists of exists now, and stays."""
        freeze_startup_objects()
        self._readiness.set_status(NodeStatus.SERVING)
        await self._set_health()

    def cut_off(self, reason: str) -> None:
        """Refuse calls while the database is away, for the reason in words."""
        if self._readiness.status in (NodeStatus.SERVING, NodeStatus.CUT_OFF):
            self._readiness.set_status(NodeStatus.CUT_OFF, reason)
            self._start_setting_health()

    def end_streams(self) -> None:
        """End what waits, and the streams of workers: they go on at another node, or come back."""
        if self._readiness.reason is not None and self._registry is not None:
            self._readiness.end_waits()
            self._registry.suspend(self._readiness.reason)

    def resume(self) -> None:
        """Admit calls again."""
        if self._readiness.status is NodeStatus.CUT_OFF:
            self._readiness.set_status(NodeStatus.SERVING)
            self._start_setting_health()

    async def drain(self, status: NodeStatus = NodeStatus.DRAINING) -> None:
        """Refuse new work; return when calls in flight are answered, or their time is over."""
        self._readiness.set_status(status)
        await self._set_health()
        if self._registry is None:
            return
        try:
            async with asyncio.timeout(DRAIN_S_MAX):
                await self._registry.drain()
        except TimeoutError:
            _log.warning("calls of workers were cut off", waited_s=DRAIN_S_MAX)

    async def stop(self) -> None:
        """Close the port and every open call."""
        for watch in self._watches:
            watch.cancel()
        await self._server.stop(STOP_S_MAX)
        unfreeze()

    async def _watch_callers(self) -> None:
        """End calls of slow peers and of withdrawn tokens, once a second."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._tokens is not None:
                self._tokens.refresh()
                self._calls.end_withdrawn(self._tokens)
            late = self._calls.end_late()
            if late:
                _log.warning("calls of slow peers were ended", count=late)
            self._audit.count()

    def _start_setting_health(self) -> None:
        task = asyncio.get_running_loop().create_task(self._set_health())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _set_health(self) -> None:
        for service in ("", *_SERVICES):
            # Asked for each, because it may change meanwhile: the last one that sets is right.
            serves = self._readiness.status is NodeStatus.SERVING
            answer = health_pb2.HealthCheckResponse
            await self._health.set(service, answer.SERVING if serves else answer.NOT_SERVING)


_IN_MASSES: Final = ("StartExecution",)
_SERVICES: Final = tuple(
    service.full_name
    for file in (client_pb2, worker_pb2, node_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
