"""The worker's metrics port: what it serves, and which addresses it accepts."""

import socket
import urllib.error
import urllib.request
from contextlib import ExitStack, closing

import pytest

from perdure_host.access.bearer_tokens import Tokens
from perdure_host.access.host_names import HostNames
from perdure_host.errors import SettingsError
from perdure_host.listen import Address
from perdure_worker.metrics.metrics import WorkerMetrics
from perdure_worker.metrics.server import CONNECTIONS_MAX, MetricsPort, MetricsServer

LOOPBACK = Address("127.0.0.1", 0)
NAMES = HostNames("127.0.0.1", ["worker"])


def scrape(server: MetricsServer, token: str | None = None, **headers: str) -> bytes:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"http://{server.address}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        body: bytes = answer.read()
    return body


def test_metrics_are_served_until_closed() -> None:
    metrics = WorkerMetrics()
    metrics.slots.set(7)
    server = MetricsServer(MetricsPort(LOOPBACK, NAMES), metrics.registry)
    assert b"perdure_worker_slots 7.0" in scrape(server)
    server.close()
    with pytest.raises(urllib.error.URLError):
        scrape(server)


def test_with_tokens_only_their_holders_read_the_metrics() -> None:
    port = MetricsPort(LOOPBACK, NAMES, Tokens(["open-sesame"]))
    with closing(MetricsServer(port, WorkerMetrics().registry)) as server:
        for token in (None, "open-barley"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                scrape(server, token)
        assert b"perdure_worker_slots" in scrape(server, "open-sesame")


def test_a_taken_port_is_named() -> None:
    registry = WorkerMetrics().registry
    with (
        closing(MetricsServer(MetricsPort(LOOPBACK, NAMES), registry)) as server,
        pytest.raises(SettingsError, match=f"metrics on {server.address}: .*in use"),
    ):
        MetricsServer(MetricsPort(server.address, NAMES), registry)


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example:7602"}, {"Host": "worker", "Origin": "http://evil.example"}]
)
def test_who_calls_the_port_by_another_name_is_refused(headers: dict[str, str]) -> None:
    with closing(MetricsServer(MetricsPort(LOOPBACK, NAMES), WorkerMetrics().registry)) as server:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            scrape(server, **headers)
        for host in ("worker:7602", "10.0.0.5:7602", "localhost"):
            assert b"perdure_worker_slots" in scrape(server, Host=host)


def test_silent_connections_leave_scrapers_served() -> None:
    with (
        closing(MetricsServer(MetricsPort(LOOPBACK, NAMES), WorkerMetrics().registry)) as server,
        ExitStack() as held,
    ):
        for _ in range(CONNECTIONS_MAX * 3):
            place = (server.address.host, server.address.port)
            held.enter_context(socket.create_connection(place))
        assert b"perdure_worker_slots" in scrape(server)
