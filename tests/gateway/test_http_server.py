"""The HTTP port as supervisors and Prometheus see it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_gateway.errors import NotServing
from perdure_gateway.http_server import WebServer, web_application
from perdure_host.access.bearer_tokens import Tokens
from perdure_host.access.host_names import HostNames
from perdure_host.errors import SettingsError
from perdure_host.listen import Address
from perdure_host.metrics import ServerMetrics
from tests.gateway.serving import run

LOOPBACK = Address("127.0.0.1", 0)


@asynccontextmanager
async def web(
    readiness: Readiness, tokens: Tokens | None = None, names: HostNames | None = None
) -> AsyncGenerator[httpx.AsyncClient]:
    application = web_application(readiness, ServerMetrics(), tokens, names=names)
    server = WebServer(application, LOOPBACK, None)
    address = server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            yield client
    finally:
        await server.stop()


@pytest.mark.parametrize("path", ["/healthz", "/healthz/ready"])
def test_readiness_says_where_the_node_stands_and_why(path: str) -> None:
    async def main() -> None:
        readiness = Readiness()
        async with web(readiness) as client:
            for status in NodeStatus:
                readiness.set_status(status, "connection refused")
                answer = await client.get(path)
                if status is NodeStatus.SERVING:
                    assert (answer.status_code, answer.json()) == (200, {"status": status})
                    continue
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert answer.json() == {"status": status, "reason": readiness.reason}
                assert "(connection refused)" in answer.json()["reason"]

    run(main)


def test_a_node_that_answers_is_alive_whatever_it_waits_for() -> None:
    async def main() -> None:
        readiness = Readiness()
        async with web(readiness, Tokens(["secret"])) as client:
            for status in NodeStatus:
                readiness.set_status(status)
                answer = await client.get("/healthz/live")
                assert (answer.status_code, answer.json()) == (200, {"status": status})

    run(main)


def test_a_wait_outlives_a_moment_without_the_database_and_no_more() -> None:
    async def main() -> None:
        readiness = Readiness()
        readiness.set_status(NodeStatus.SERVING)

        async def wait() -> None:
            async with readiness.while_serving():
                await asyncio.get_running_loop().create_future()

        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        readiness.set_status(NodeStatus.CUT_OFF, "gone")
        await asyncio.sleep(0)
        assert not waiting.done()
        with pytest.raises(NotServing, match="gone"):
            readiness.require_serving()
        readiness.end_waits()
        readiness.end_waits()
        with pytest.raises(NotServing, match="gone"):
            await waiting

    run(main)


def test_metrics_are_in_the_text_format_of_prometheus() -> None:
    async def main() -> None:
        async with web(Readiness()) as client:
            answer = await client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=")
            assert "perdure_build_info" in answer.text

    run(main)


def test_there_is_nothing_else() -> None:
    async def main() -> None:
        async with web(Readiness()) as client:
            assert (await client.get("/")).status_code == 404
            assert (await client.post("/metrics", content=b"x" * 10_000_000)).status_code == 405

    run(main)


def test_a_token_is_needed_for_everything_but_health() -> None:
    async def main() -> None:
        async with web(Readiness(), Tokens(["secret"])) as client:
            for path, status in (
                ("/healthz", 503),
                ("/healthz/ready", 503),
                ("/healthz/live", 200),
            ):
                assert (await client.get(path)).status_code == status
            for path in ("/metrics", "/", "/healthz/"):
                refused = await client.get(path)
                assert refused.status_code == 401
                assert "bearer token is required" in refused.json()["error"]
            headers = {"authorization": "Bearer secret"}
            assert (await client.get("/metrics", headers=headers)).status_code == 200

    run(main)


def test_a_taken_port_is_named() -> None:
    async def main() -> None:
        application = web_application(Readiness(), ServerMetrics(), None)
        first = WebServer(application, LOOPBACK, None)
        address = first.start()
        try:
            with pytest.raises(SettingsError, match=f"cannot listen on {address} for HTTP"):
                WebServer(application, address, None).start()
        finally:
            await first.stop()
        await asyncio.sleep(0)

    run(main)


@pytest.mark.parametrize(
    "path", ["/healthz", "/healthz/live", "/metrics", "/", "/2015-03-31/functions"]
)
def test_a_name_that_the_server_was_not_given_is_refused_on_every_path(path: str) -> None:
    async def main() -> None:
        names = HostNames("127.0.0.1", ["perdure.internal"])
        async with web(Readiness(), names=names) as client:
            known = await client.get(path, headers={"host": "perdure.internal"})
            assert known.status_code != 403
            refused = await client.get(path, headers={"host": "evil.example:7601"})
            assert refused.status_code == 403
            assert "evil.example" in refused.text
            page = await client.get(path, headers={"origin": "http://evil.example"})
            assert page.status_code == 403

    run(main)


def test_probes_that_know_only_an_address_are_answered() -> None:
    async def main() -> None:
        async with web(Readiness()) as client:
            answers = {
                "/healthz": 503,
                "/healthz/ready": 503,
                "/healthz/live": 200,
                "/metrics": 200,
            }
            for path, status in answers.items():
                answer = await client.get(path, headers={"host": "10.0.0.5:7601"})
                assert answer.status_code == status
            assert (await client.get("/", headers={"host": "10.0.0.5"})).status_code == 403

    run(main)


def test_a_probe_of_http_1_0_that_names_no_host_is_answered() -> None:
    async def main() -> None:
        async with web(Readiness()) as client:
            reader, writer = await asyncio.open_connection(
                client.base_url.host, client.base_url.port
            )
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()

    run(main)
