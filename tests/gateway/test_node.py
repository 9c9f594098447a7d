"""The life of a node: refused starts, standby, serving and stopping."""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc.aio
import httpx
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from perdure_cli.node import NodeAddresses, NodeSettings, run_node
from perdure_host.channel import reason_of
from perdure_host.errors import HostError, SettingsError
from perdure_proto.v1 import client_pb2, client_pb2_grpc, node_pb2, node_pb2_grpc
from tests.gateway.certificates import Authority
from tests.gateway.serving import failure_of, run


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def settings(**more: Any) -> NodeSettings:
    more.setdefault("db_url", "memory://")
    more.setdefault("grpc_address", "127.0.0.1:0")
    more.setdefault("http_address", "127.0.0.1:0")
    more.setdefault("node_name", "one")
    return NodeSettings(**more)


class RunningNode:
    """A node in this process."""

    def __init__(self, node_settings: NodeSettings) -> None:
        self.stop = asyncio.Event()
        self.ready: asyncio.Future[NodeAddresses] = asyncio.get_running_loop().create_future()
        self.status = asyncio.ensure_future(
            run_node(node_settings, stop=self.stop, ready=self.ready.set_result)
        )

    async def addresses(self) -> NodeAddresses:
        ends: set[asyncio.Future[Any]] = {self.ready, self.status}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self.status.done():
            self.status.result()
        return self.ready.result()


@asynccontextmanager
async def node(**more: Any) -> AsyncGenerator[tuple[RunningNode, NodeAddresses]]:
    running = RunningNode(settings(**more))
    try:
        yield running, await running.addresses()
    finally:
        running.stop.set()
        await running.status


def _ignore(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept a connection that no client makes."""


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert isinstance(answer, health_pb2.HealthCheckResponse)
    status: int = answer.status
    return status


def test_a_node_serves_from_ready_to_stop_and_exits_with_0() -> None:
    async def main() -> None:
        async with node() as (running, addresses):
            async with grpc.aio.insecure_channel(addresses.grpc) as channel:
                for service in ("", "perdure_proto.v1.WorkerService"):
                    serving = health_pb2.HealthCheckResponse.SERVING
                    assert await health(channel, service) == serving
                stub = node_pb2_grpc.NodeServiceStub(channel)
                described = await cast("Any", stub).Describe(node_pb2.DescribeRequest())
                assert (described.node_name, described.status) == ("one", "serving")
                assert described.incarnation >= 1
                assert described.buckets_owned == 4_096
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://{addresses.http}/healthz")).status_code == 200
            running.stop.set()
            assert await running.status == 0

    run(main)


def test_reflection_lists_the_services() -> None:
    async def main() -> None:
        async with node() as (_, addresses), grpc.aio.insecure_channel(addresses.grpc) as channel:
            # The stub's own types are those of synchronous channels.
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", channel))
            call = stub.ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            )
            answer = await call.read()
            names = {service.name for service in answer.list_services_response.service}
            assert "perdure_proto.v1.ExecutionService" in names
            assert "grpc.health.v1.Health" in names

    run(main)


def test_a_second_node_of_another_name_stands_by_until_the_first_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        db_url = f"sqlite:///{tmp_path / 'p.db'}"
        async with node(db_url=db_url) as (first, _):
            second = RunningNode(settings(db_url=db_url, node_name="two"))
            first.stop.set()
            assert await first.status == 0
            await second.addresses()
            second.stop.set()
            assert await second.status == 0

    run(main)


def test_a_node_that_stands_by_says_so_and_can_be_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        db_url = f"sqlite:///{tmp_path / 'p.db'}"
        async with node(db_url=db_url) as (_, owner):
            # The ports have to be known before the node is ready.
            listener = await asyncio.start_server(_ignore, "127.0.0.1", 0)
            port = listener.sockets[0].getsockname()[1]
            listener.close()
            await listener.wait_closed()
            address = f"127.0.0.1:{port}"
            second = RunningNode(settings(db_url=db_url, node_name="two", grpc_address=address))
            async with grpc.aio.insecure_channel(address) as channel:
                stub = cast("Any", node_pb2_grpc.NodeServiceStub(channel))
                status = ""
                while status != "standby":
                    answer = await stub.Describe(node_pb2.DescribeRequest(), wait_for_ready=True)
                    status = answer.status
                clients = cast("Any", client_pb2_grpc.ExecutionServiceStub(channel))
                refused = await failure_of(clients.ListFunctions(client_pb2.ListFunctionsRequest()))
                assert refused.code() is grpc.StatusCode.UNAVAILABLE
                assert (refused.details() or "").endswith(f"call that one, at {owner.grpc}")
                assert reason_of(refused) == "node_on_standby"
                not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
                assert await health(channel) == not_serving
            second.stop.set()
            assert await second.status == 0
            assert not second.ready.done()

    run(main)


def test_a_fenced_node_ends_with_1(tmp_path: Path) -> None:
    async def main() -> None:
        db_url = f"sqlite:///{tmp_path / 'p.db'}"
        # The same name takes over at once, as after a crash that was none.
        async with node(db_url=db_url, lease_ms=300) as (first, _), node(db_url=db_url):
            assert await first.status == 1

    run(main)


def test_a_node_asked_to_hand_over_answers_and_exits_with_0() -> None:
    async def main() -> None:
        async with node() as (running, addresses):
            async with grpc.aio.insecure_channel(addresses.grpc) as channel:
                stub = cast("Any", node_pb2_grpc.NodeServiceStub(channel))
                answer = await stub.HandOver(node_pb2.HandOverRequest(successor="two"))
                assert answer.incarnation >= 1
            assert await running.status == 0

    run(main)


def refused_start(**more: Any) -> str:
    """Return the message of a node that cannot start."""
    message = ""

    async def main() -> None:
        nonlocal message
        running = RunningNode(settings(**more))
        with pytest.raises(HostError) as refused:
            await running.addresses()
        message = str(refused.value)

    run(main)
    return message


def test_a_taken_port_is_named() -> None:
    async def main() -> None:
        async with node() as (_, addresses):
            for field, what in (("grpc_address", "gRPC"), ("http_address", "HTTP")):
                address = addresses.grpc if what == "gRPC" else addresses.http
                running = RunningNode(settings(**{field: address}))
                with pytest.raises(SettingsError, match=f"cannot listen on {address} for {what}"):
                    await running.addresses()

    run(main)


def test_what_cannot_be_started_is_named(tmp_path: Path) -> None:
    assert "address 'nonsense'" in refused_start(grpc_address="nonsense")
    assert "refusing to listen on 0.0.0.0:0" in refused_start(grpc_address="0.0.0.0:0")
    assert "--tls-key is missing" in refused_start(tls_cert="cert.pem")
    assert "token file /nowhere" in refused_start(token_file="/nowhere")
    assert "nosuch" in refused_start(db_url="nosuch://x")
    missing = f"sqlite:///{tmp_path}/no/such/folder/p.db"
    assert "no/such/folder" in refused_start(db_url=missing)


def test_an_open_node_with_token_and_mutual_tls_lets_in_who_has_both(tmp_path: Path) -> None:
    async def main() -> None:
        authority = Authority(tmp_path)
        certificate, key = authority.issue("server")
        token_file = tmp_path / "token"
        token_file.write_text("secret\n", encoding="ascii")
        async with node(
            grpc_address="0.0.0.0:0",
            http_address="0.0.0.0:0",
            tls_cert=certificate,
            tls_key=key,
            tls_ca=authority.path,
            token_file=str(token_file),
        ) as (_, addresses):
            await check_grpc(authority, addresses.grpc.replace("0.0.0.0", "127.0.0.1"))
            await check_http(authority, addresses.http.replace("0.0.0.0", "127.0.0.1"))

    run(main)


async def check_grpc(authority: Authority, address: str) -> None:
    certificate, key = authority.issue("client")
    trusted = authority.read(authority.path)
    bare = grpc.ssl_channel_credentials(trusted)
    async with grpc.aio.secure_channel(address, bare) as channel:
        failure = await failure_of(health(channel))
        assert failure.code() is grpc.StatusCode.UNAVAILABLE
    mutual = grpc.ssl_channel_credentials(trusted, authority.read(key), authority.read(certificate))
    async with grpc.aio.secure_channel(address, mutual) as channel:
        assert await health(channel) == health_pb2.HealthCheckResponse.SERVING
        stub = cast("Any", client_pb2_grpc.ExecutionServiceStub(channel))
        request = client_pb2.ListFunctionsRequest()
        assert (await failure_of(stub.ListFunctions(request))).code() is (
            grpc.StatusCode.UNAUTHENTICATED
        )
        await stub.ListFunctions(request, metadata=(("authorization", "Bearer secret"),))


async def check_http(authority: Authority, address: str) -> None:

    certificate, key = authority.issue("client")
    context = ssl.create_default_context(cafile=authority.path)
    async with httpx.AsyncClient(verify=context) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"https://{address}/healthz")
    context = ssl.create_default_context(cafile=authority.path)
    context.load_cert_chain(certificate, key)
    async with httpx.AsyncClient(verify=context) as client:
        assert (await client.get(f"https://{address}/healthz")).status_code == 200
        assert (await client.get(f"https://{address}/metrics")).status_code == 401
