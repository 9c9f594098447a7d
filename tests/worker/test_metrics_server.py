"""The worker's metrics port: what it serves, and which addresses it accepts."""

import urllib.error
import urllib.request
from contextlib import closing

import pytest

from perdure_host.credentials import Tokens
from perdure_host.errors import SettingsError
from perdure_host.listen import Address
from perdure_worker.metrics.metrics import WorkerMetrics
from perdure_worker.metrics.server import MetricsPort, MetricsServer

LOOPBACK = Address("127.0.0.1", 0)


def scrape(server: MetricsServer, token: str | None = None) -> bytes:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://{server.address}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        body: bytes = answer.read()
    return body


def test_metrics_are_served_until_closed() -> None:
    metrics = WorkerMetrics()
    metrics.slots.set(7)
    server = MetricsServer(MetricsPort(LOOPBACK), metrics.registry)
    assert b"perdure_worker_slots 7.0" in scrape(server)
    server.close()
    with pytest.raises(urllib.error.URLError):
        scrape(server)


def test_with_tokens_only_their_holders_read_the_metrics() -> None:
    port = MetricsPort(LOOPBACK, Tokens(["open-sesame"]))
    with closing(MetricsServer(port, WorkerMetrics().registry)) as server:
        for token in (None, "open-barley"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                scrape(server, token)
        assert b"perdure_worker_slots" in scrape(server, "open-sesame")


def test_a_taken_port_is_named() -> None:
    registry = WorkerMetrics().registry
    with (
        closing(MetricsServer(MetricsPort(LOOPBACK), registry)) as server,
        pytest.raises(SettingsError, match=f"metrics on {server.address}: .*in use"),
    ):
        MetricsServer(MetricsPort(server.address), registry)
