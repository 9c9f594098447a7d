"""The HTTP boundary of the Lambda API: access, unknown operations, slow and oversized requests."""

import asyncio
import json
import time
from typing import Any, cast
from uuid import UUID

import pytest
from starlette.requests import Request
from starlette.types import Message

from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_gateway.lambda_api.application import LambdaApi, is_versioned
from perdure_gateway.lambda_api.body import Body
from perdure_gateway.lambda_api.invoke import Invoker
from perdure_host.access.bearer_tokens import Tokens
from perdure_host.lambda_json.body_budget import BodyBudget
from perdure_host.lambda_json.failures import Code, LambdaError
from tests.gateway.serving import run
from tests.lambda_api.serving import UNKNOWN_ARN, lambda_serving, worker

HEARTBEAT = "/2025-12-01/durable-execution-callbacks/AAAA/heartbeat"


def test_with_a_token_file_signatures_are_refused_and_bearer_tokens_let_in() -> None:
    async def main() -> None:
        async with lambda_serving(tokens=Tokens(["secret"])) as api:
            refused = await api.failure("stop_durable_execution", DurableExecutionArn=UNKNOWN_ARN)
            assert refused[:2] == (403, "AccessDeniedException")
            assert (
                "Signatures are checked only by a node that was given an access key file"
                in refused[2]
            )
            answer = await api.http.post(HEARTBEAT, headers={"authorization": "Bearer secret"})
            assert answer.headers["x-amzn-errortype"] == "InvalidParameterValueException"

    run(main)


def test_the_log_says_once_that_signatures_are_not_checked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            for _ in range(2):
                await api.failure("stop_durable_execution", DurableExecutionArn=UNKNOWN_ARN)

    run(main)
    assert capsys.readouterr().out.count("signatures of Lambda clients are not checked") == 1


def test_every_failure_has_a_code_in_a_header_and_a_body_of_the_model() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            answer = await api.http.post(HEARTBEAT)
            assert answer.status_code == 400
            assert answer.headers["x-amzn-errortype"] == "InvalidParameterValueException"
            assert set(answer.json()) == {"Type", "message"}
            answer = await api.http.post(
                f"/2025-12-01/durable-executions/{UNKNOWN_ARN.replace('/', '%2F')}/stop"
            )
            assert answer.status_code == 404
            assert answer.headers["x-amzn-errortype"] == "ResourceNotFoundException"
            assert set(answer.json()) == {"Type", "Message"}

    run(main)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", HEARTBEAT),
        ("POST", "/2025-12-01/nothing"),
        ("PUT", "/2015-03-31/functions/f/code"),
        ("POST", "/2025-12-01/durable-executions//stop/"),
    ],
)
def test_operations_that_are_not_served_are_unknown(method: str, path: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            answer = await api.http.request(method, path, follow_redirects=True)
            assert answer.status_code == 404
            assert answer.headers["x-amzn-errortype"] == "UnknownOperationException"

    run(main)


def test_every_answer_has_an_id_of_its_own() -> None:
    async def main() -> None:
        async with lambda_serving() as api, lambda_serving(tokens=Tokens(["secret"])) as closed:
            answers = [
                await api.http.get("/2015-03-31/functions"),
                await api.http.get("/2015-03-31/functions"),
                await api.http.post(HEARTBEAT),
                await api.http.post("/2025-12-01/nothing"),
                await closed.http.post(HEARTBEAT),
            ]
            ids = {str(UUID(answer.headers["x-amzn-requestid"])) for answer in answers}
            assert len(ids) == len(answers)
            answer = await api.call("list_functions")
            UUID(answer["ResponseMetadata"]["RequestId"])

    run(main)


def test_the_id_of_a_request_is_on_what_the_log_says_about_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            # Nobody foresees a history that cannot do anything.
            api.api.open(cast("Any", object()))
            answer = await api.http.post(HEARTBEAT)
            assert answer.status_code == 500
            ids.append(answer.headers["x-amzn-requestid"])

    ids: list[str] = []
    run(main)
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "unexpected error" in each]
    assert ids[0] in line


def test_a_node_that_does_not_serve_says_try_again() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            api.readiness.set_status(NodeStatus.STANDBY)
            answer = await api.http.post(HEARTBEAT)
            assert answer.status_code == 503
            assert answer.headers["x-amzn-errortype"] == "ServiceException"
            assert json.loads(answer.content)["Type"] == "Service"

    run(main)


def test_answers_do_not_wait_for_acknowledgements() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            took_s: list[float] = []
            for _ in range(20):
                began_s = time.monotonic()
                await api.http.post(HEARTBEAT)
                took_s.append(time.monotonic() - began_s)
            # Each of them took 40 ms, however fast the machine.
            assert min(took_s) < 0.03

    run(main)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"]
)
def test_a_head_that_does_not_arrive_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("perdure_gateway.http_api.connections.HEAD_S_MAX", 0.05)

    async def main() -> None:
        async with lambda_serving() as api:
            reader, writer = await asyncio.open_connection(
                *api.url.removeprefix("http://").split(":")
            )
            writer.write(sent)
            assert await reader.read() == b""
            writer.close()

    run(main)


def test_a_client_that_waits_for_a_response_is_not_cut_off_as_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perdure_gateway.http_api.connections.HEAD_S_MAX", 0.01)

    def make_api(readiness: Readiness) -> LambdaApi:
        return LambdaApi(readiness, Invoker(wait_ms=200))

    async def main() -> None:
        async with lambda_serving(make_api=make_api) as api:
            await worker(api, slots=0)
            answer = await api.http.post("/2015-03-31/functions/f/invocations")
            assert answer.json()["errorType"] == "Invoke.Timeout"

    run(main)


@pytest.mark.parametrize("header", ["origin", "sec-fetch-site"])
def test_pages_in_browsers_are_kept_out(header: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            answer = await api.http.post(HEARTBEAT, headers={header: "cross-site"})
            assert answer.status_code == 403

    run(main)


def test_a_page_whose_name_came_to_mean_this_machine_reads_nothing() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            for path in ("/2015-03-31/functions", f"/2025-12-01/durable-executions/{UNKNOWN_ARN}"):
                # What a browser sends with a GET to the page's own origin.
                answer = await api.http.get(path, headers={"host": "evil.example:7601"})
                assert answer.status_code == 403
                assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"

    run(main)


def body_of(budget: BodyBudget, *chunks: bytes) -> Body:
    """Return a body that arrives in these chunks, or never when there are none."""
    arriving = [*chunks]

    async def receive() -> Message:
        if not chunks:
            await asyncio.Event().wait()
        chunk = arriving.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(arriving)}

    return Body(Request({"type": "http", "headers": []}, receive), budget)


def test_bodies_share_a_budget_and_release_it() -> None:
    async def main() -> None:
        budget = BodyBudget(10)
        first = body_of(budget, b"12345", b"678")
        assert await first.read(8) == b"12345678"
        second = body_of(budget, b"12", b"3")
        with pytest.raises(LambdaError) as refusal:
            await second.read(8)
        assert refusal.value.code is Code.TOO_MANY
        second.release()
        first.release()
        first.release()
        assert budget.free == 10

    run(main)


def test_a_body_without_a_length_is_cut_off_where_it_grows_too_large() -> None:
    async def main() -> None:
        budget = BodyBudget(100)
        body = body_of(budget, b"1234", b"5678")
        with pytest.raises(LambdaError) as refusal:
            await body.read(7)
        assert refusal.value.code is Code.TOO_LARGE
        body.release()
        assert budget.free == 100

    run(main)


def test_a_body_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure_gateway.lambda_api.body.BODY_S_MAX", 0.0)

    async def main() -> None:
        with pytest.raises(LambdaError) as refusal:
            await body_of(BodyBudget()).read(7)
        assert refusal.value.code is Code.CONTENT_INVALID

    run(main)


def test_operations_of_every_version_of_the_api_are_refused_by_name() -> None:
    """Their paths begin with some seventeen dates."""

    async def main() -> None:
        async with lambda_serving() as api:
            for operation in ("list_layers", "get_account_settings", "list_code_signing_configs"):
                refused = await api.failure(operation)
                assert refused[:2] == (404, "UnknownOperationException")
            model = api.client.meta.service_model
            for name in model.operation_names:
                assert is_versioned(model.operation_model(name).http["requestUri"])
            assert (await api.http.get("/2015-03-31")).text == "Not Found"

    run(main)


def test_a_body_of_two_lengths_is_refused_and_what_follows_is_not_read() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            smuggled = b"DELETE /2015-03-31/functions/f HTTP/1.1\r\nhost: localhost\r\n\r\n"
            head = (
                b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nhost: localhost\r\n"
                b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"
            )
            host, _, port = api.url.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head + smuggled)
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert answer.count(b"HTTP/1.1 ") == 1
            assert b"not both" in answer

    run(main)


def test_a_body_that_trickles_is_given_up_while_one_that_flows_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perdure_gateway.lambda_api.body.GRACE_S", 0.05)
    monkeypatch.setattr("perdure_gateway.lambda_api.body.BYTES_PER_S_MIN", 1.0)

    async def flowing() -> Message:
        return {"type": "http.request", "body": b"x" * 100, "more_body": next(more)}

    async def trickling() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"", "more_body": True}

    async def main() -> None:
        scope: dict[str, Any] = {"type": "http", "headers": []}
        assert len(await Body(Request(scope, flowing), BodyBudget()).read(1_000)) == 300
        with pytest.raises(LambdaError) as refusal:
            await Body(Request(scope, trickling), BodyBudget()).read(1_000)
        assert refusal.value.code is Code.CONTENT_INVALID

    more = iter([True, True, False])
    run(main)


def test_bodies_of_unknown_senders_leave_room_for_those_of_known_ones() -> None:
    async def main() -> None:
        budget, unproven = BodyBudget(100), BodyBudget(10)

        def sent(size: int) -> Body:
            return Body(body_request(b"x" * size), budget, unproven)

        stranger = sent(8)
        await stranger.buffer(100, proven=False)
        with pytest.raises(LambdaError) as refusal:
            await sent(8).buffer(100, proven=False)
        assert refusal.value.code is Code.TOO_MANY
        assert await sent(50).buffer(100, proven=True) == b"x" * 50
        stranger.prove()
        assert unproven.free == 10
        stranger.release()
        assert unproven.free == 10

    run(main)


def body_request(content: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    return Request({"type": "http", "headers": []}, receive)
