"""A server node: store, history, matching and gateway in one process, from start to end.

    start:  settings, ports, store, services, owning the database (or standing by), ready
    end:    refuse new calls, finish those in flight, history, release the lease, store, ports

Must stay true: the ports are bound before the database is touched, so that a second server on the
same ports never fences the first; `ready` is called once calls are served; and a node that was
fenced answers nothing more and exits with 1.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Literal

import msgspec

from perdure_cli.node_availability import Availability
from perdure_cli.node_maintenance import Maintenance
from perdure_cli.node_standby import Standby
from perdure_gateway.admission.overload import Overload
from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_gateway.grpc_api.server import GrpcServer
from perdure_gateway.http_server import WebServer, web_application
from perdure_gateway.lambda_api.application import LambdaApi
from perdure_gateway.lambda_api.authentication import Authenticator
from perdure_gateway.lambda_api.invoke import Invoker
from perdure_gateway.workers.registry import WorkerSettings
from perdure_history.service import HistoryService
from perdure_history.settings import HistorySettings
from perdure_host.access.audit import Audit
from perdure_host.access.bearer_tokens import read_tokens
from perdure_host.access.host_names import HostNames
from perdure_host.access_keys import read_access_keys
from perdure_host.clock import MachineClock, SteadyClock, WallClock
from perdure_host.clock_watch import CLOCK_CHECK_S, STEP_MS_MIN, ClockWatch
from perdure_host.credentials import certificate_names, tls_files
from perdure_host.errors import HostError, SettingsError
from perdure_host.listen import Address, check_exposure, parse_address
from perdure_host.metrics import ServerMetrics
from perdure_host.open_files import raise_open_files
from perdure_host.ports import Store
from perdure_host.server_address import check_server_address
from perdure_host.sql import open_store
from perdure_host.status_file import StatusFile
from perdure_host.telemetry import configure_logging, open_log
from perdure_host.tokens import Signer
from perdure_matching.service import MatchingService

ROLES: Final = ("gateway", "history", "matching", "timers")

# How long history may take to finish what is in flight, with a database that may be gone.
CLOSE_S_MAX: Final = 10.0

_ALL_ADDRESSES: Final = ("0.0.0.0", "::", "[::]")  # noqa: S104 - what operators write

_log = open_log("perdure.node")


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an operator configures. Addresses are HOST:PORT, TLS files are PEM."""

    # sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory://.
    db_url: str
    # Other machines can connect only with a token and TLS, or if `insecure`.
    grpc_address: str
    http_address: str
    # HOST:PORT by which clients reach the gRPC port, as a standby tells them; by default the one
    # above, or this machine's name where that stands for every address.
    advertised: str | None = None
    # Names of the HTTP port besides loopback, its address, and those in the certificate.
    allowed_hosts: tuple[str, ...] = ()
    # Unique in the cluster; a restarted node of the same name takes over at once.
    node_name: str
    # Tokens of callers, with names and roles; every caller must send one of them.
    token_file: str | None = None
    # TOML; with it, clients of the Lambda API must sign with one of its keys, or send a token.
    access_key_file: str | None = None
    # Clients of the Lambda API must name the version of a durable function that they invoke.
    require_qualified_names: bool = False
    # Every start and end of an execution is appended here as a line of JSON.
    status_events: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    # Callers must present a certificate that these authorities have signed.
    tls_ca: str | None = None
    insecure: bool = False
    # Migrate an older schema first; the older program may then be unable to start again.
    migrate: bool = False
    log_format: Literal["text", "json"] = "text"
    # A node has every role.
    roles: tuple[str, ...] = ROLES
    # Longer: a dead node is replaced later. Shorter: a slow database loses the lease sooner.
    lease_ms: int = 10_000
    # How long workers may claim what they run after a restart or a pause of the server. Longer:
    # work whose worker died too waits longer. Shorter: work runs twice.
    claim_wait_ms: int = 2_000
    # Shorter: lost workers are noticed sooner, at the cost of more messages.
    heartbeat_interval_ms: int = 5_000
    heartbeat_timeout_ms: int = 15_000


class NodeAddresses(msgspec.Struct, frozen=True):
    """The addresses the node listens on, HOST:PORT, with the actual ports."""

    grpc: str
    http: str


class Node:
    """One node. `run` opens everything, serves, and closes everything in reverse order."""

    def __init__(self, settings: NodeSettings, clock: MachineClock | None = None) -> None:
        """Check the settings and read their files. The clock is this machine's by default."""
        if set(settings.roles) != set(ROLES):
            raise SettingsError(f"a node has all of the roles {', '.join(ROLES)}")
        tls = tls_files(settings.tls_cert, settings.tls_key, settings.tls_ca)
        tokens = None if settings.token_file is None else read_tokens(settings.token_file)
        key_file = settings.access_key_file
        keys = None if key_file is None else read_access_keys(key_file)
        status_events = settings.status_events
        self._status_file = None if status_events is None else StatusFile(status_events)
        if settings.advertised is not None:
            check_server_address(settings.advertised)
        self.name = settings.node_name
        self._settings = settings
        self._tls = tls
        self._grpc = _checked_address(settings.grpc_address, settings)
        self._http = _checked_address(settings.http_address, settings)
        self._readiness = Readiness()
        self._metrics = ServerMetrics()
        machine = WallClock() if clock is None else clock
        self._clock = SteadyClock(machine)
        self._clock_watch = ClockWatch(self._clock, self._metrics)
        self._matching = MatchingService(self._clock, self._metrics)
        authenticator = Authenticator(keys, machine, tokens=tokens is not None)
        invoker = Invoker(require_qualified=settings.require_qualified_names)
        audit = Audit()
        overload = Overload(self._metrics)
        self._lambda_api = LambdaApi(self._readiness, invoker, authenticator, audit, overload)
        names = HostNames(self._http.host, settings.allowed_hosts, certified=certificate_names(tls))
        self._web = web_application(
            self._readiness, self._metrics, tokens, self._lambda_api, names, audit
        )
        self._server = GrpcServer(self._readiness, tokens, audit, overload)
        self._secret: bytes | None = None
        self._history: HistoryService | None = None
        self._maintenance = Maintenance()
        self._handed_over = asyncio.Event()

    @property
    def incarnation(self) -> int:
        """Return the fencing number that the node writes with; 0 before it has one."""
        return 0 if self._history is None else self._history.incarnation

    async def run(self, stop: asyncio.Event, ready: Callable[[NodeAddresses], object]) -> int:
        """Serve until `stop` is set and return the exit status. Raises HostError."""
        async with AsyncExitStack() as closing:
            if self._status_file is not None:
                closing.callback(self._status_file.close)
            addresses = self._take_ports(closing)
            store = open_store(self._settings.db_url)
            closing.push_async_callback(store.close)
            standby = Standby(self.name, self._settings.lease_ms, self._readiness)
            if not await standby.wait_open(partial(self._open_store, store), stop):
                return 0
            history = self._history = self._make_history(store, self._advertised(addresses.grpc))
            self._lambda_api.open(history)
            registry = await self._server.start(
                history,
                self._matching,
                self._clock,
                self,
                metrics=self._metrics,
                settings=WorkerSettings(
                    heartbeat_interval_ms=self._settings.heartbeat_interval_ms,
                    heartbeat_timeout_ms=self._settings.heartbeat_timeout_ms,
                ),
            )
            take_time = partial(self._take_time, store)
            if not await standby.wait_owned(history, stop, take_time):
                return 0
            closing.push_async_callback(self._close_history, history)
            availability = Availability(self._server)
            closing.callback(availability.close)
            history.watch_availability(availability.changed)
            history.watch_database()
            expiry = ("close expired workers", registry.check_period_s, registry.close_expired)
            clock = ("compare the clocks", CLOCK_CHECK_S, self._clock_watch.check)
            self._maintenance.start([*history.periodic_work(), expiry, clock])
            await self._server.open()
            _log.info(
                "node ready", node=self.name, incarnation=self.incarnation, grpc=addresses.grpc
            )
            ready(addresses)
            return await self._wait_end(history, stop)

    async def hand_over(self) -> None:
        """Drain, release the lease, and begin to stop."""
        assert self._history is not None
        await self._server.drain()
        await self._close_history(self._history)
        self._handed_over.set()

    def _take_ports(self, closing: AsyncExitStack) -> NodeAddresses:
        grpc = self._server.listen(self._grpc, self._tls)
        closing.push_async_callback(self._server.stop)
        web = WebServer(self._web, self._http, self._tls)
        http = web.start()
        closing.push_async_callback(web.stop)
        return NodeAddresses(str(grpc), str(http))

    def _advertised(self, listened: str) -> str:
        if self._settings.advertised is not None:
            return self._settings.advertised
        host, _, port = listened.rpartition(":")
        return f"{socket.gethostname()}:{port}" if host in _ALL_ADDRESSES else listened

    async def _open_store(self, store: Store) -> None:
        await store.open(migrate=self._settings.migrate)
        self._secret = await store.secret()

    async def _take_time(self, store: Store) -> None:
        """Set the clock to the database's time, if it has a clock of its own. Raises StoreError."""
        ahead_ms = self._clock.follow(await store.now_ms(self._clock.now_ms()))
        if abs(ahead_ms) >= STEP_MS_MIN:
            _log.warning(
                "the clocks of this machine and of the database differ; this server keeps the"
                " database's time",
                database_ahead_ms=ahead_ms,
            )

    def _make_history(self, store: Store, address: str) -> HistoryService:
        assert self._secret is not None
        history = HistoryService(
            store=store,
            clock=self._clock,
            metrics=self._metrics,
            signer=Signer(self._secret),
            matching=self._matching,
            node_name=self.name,
            address=address,
            settings=HistorySettings(
                lease_ms=self._settings.lease_ms, claim_wait_ms=self._settings.claim_wait_ms
            ),
        )
        if self._status_file is not None:
            history.deliver_status_events(self._status_file)
        return history

    async def _wait_end(self, history: HistoryService, stop: asyncio.Event) -> int:
        stopping = asyncio.ensure_future(stop.wait())
        handed_over = asyncio.ensure_future(self._handed_over.wait())
        ends = (stopping, handed_over, history.fatal)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        handed_over.cancel()
        if history.fatal.done():
            reason = str(history.fatal.result())
            _log.error("node must stop serving", node=self.name, reason=reason)
            await self._server.drain(NodeStatus.FENCED)
            return 1
        _log.info("node stopping", node=self.name)
        await self._server.drain()
        return 0

    async def _close_history(self, history: HistoryService) -> None:
        if not self._maintenance.stop():
            return
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await history.close()
        except (TimeoutError, HostError) as error:
            reason = str(error) or f"not within {CLOSE_S_MAX} s"
            _log.warning(
                "history did not close cleanly; nothing that was acknowledged is lost", error=reason
            )


async def run_node(
    settings: NodeSettings, *, stop: asyncio.Event, ready: Callable[[NodeAddresses], object]
) -> int:
    """Run a node until `stop` is set (0), or until it must stop serving (1).

    Raises HostError when it cannot start.
    """
    configure_logging(settings.log_format)
    raise_open_files()
    return await Node(settings).run(stop, ready)


def _checked_address(text: str, settings: NodeSettings) -> Address:
    address = parse_address(text)
    check_exposure(
        address,
        token_file=settings.token_file,
        tls_cert=settings.tls_cert,
        insecure=settings.insecure,
    )
    return address
