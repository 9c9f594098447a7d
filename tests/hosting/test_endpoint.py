"""The endpoint that handlers' AWS SDKs talk to, driven by boto3 and by bare HTTP."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from botocore.exceptions import ClientError

from perdure.delivery import (
    CheckpointAnswer,
    CheckpointRefused,
    CheckpointUnavailable,
    Invocation,
    TurnPassed,
)
from perdure_core.limits import CHECKPOINT_UPDATES_MAX
from perdure_core.model import (
    ExecutionDetails,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    StepDetails,
)
from perdure_host.channel import ConnectionSettings
from perdure_host.errors import SettingsError
from perdure_host.lambda_json.checkpoints import CHECKPOINT_BODY_BYTES_MAX
from perdure_worker.hosting.bridge import PAGE_BYTES_MAX, Bridge
from perdure_worker.hosting.endpoint import Endpoint
from perdure_worker.hosting.forwarding import Forwarding
from perdure_worker.hosting.http_server import (
    Answer,
    HttpServer,
    Request,
)
from tests.lambda_api.serving import boto_client
from tests.sdk.scripted import Scripted

ARN: Final = (
    "arn:perdure:lambda:default:000000000000:function:f:$LATEST/durable-execution/name/" + 32 * "0"
)
UPDATE: Final = {"Id": "s1", "Type": "STEP", "Action": "START", "Name": "step"}
SCENARIO_S_MAX: Final = 60


def invocation(*recorded: Operation, payload: str = '{"a": 1}') -> Invocation:
    execution = Operation(
        id="0" * 32,
        type=OperationType.EXECUTION,
        status=OperationStatus.STARTED,
        started_ms=1_000,
        name="name",
        details=ExecutionDetails(payload),
    )
    return Invocation(
        invocation_id="request",
        execution_arn=ARN,
        function_name="f",
        operations=(execution, *recorded),
        updated_operation_ids=("s1",),
    )


def step(number: int, result: str) -> Operation:
    return Operation(
        id=f"s{number}",
        type=OperationType.STEP,
        status=OperationStatus.SUCCEEDED,
        started_ms=2_500,
        ended_ms=2_501,
        details=StepDetails(attempt=1, result=result),
    )


class Opened:
    """An endpoint with one open invocation, and clients for it."""

    def __init__(self, endpoint: Endpoint, bridge: Bridge, port: Scripted) -> None:
        self.endpoint = endpoint
        self.bridge = bridge
        self.port = port
        self.client = boto_client(endpoint.url)
        self.http = httpx.AsyncClient(base_url=endpoint.url, trust_env=False)

    async def call(self, operation: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(getattr(self.client, operation), **arguments)

    async def checkpoint(self, token: str, *updates: Any, **more: Any) -> Any:
        return await self.call(
            "checkpoint_durable_execution",
            DurableExecutionArn=ARN,
            CheckpointToken=token,
            Updates=updates or (UPDATE,),
            **more,
        )

    async def refusal(self, calling: Awaitable[Any]) -> tuple[int, str, str]:
        try:
            answer = await calling
        except ClientError as error:
            response: Any = error.response
            told = response["Error"]
            return response["ResponseMetadata"]["HTTPStatusCode"], told["Code"], told["Message"]
        raise AssertionError(f"the call went well: {answer}")


@asynccontextmanager
async def opened(
    port: Scripted | None = None,
    given: Invocation | None = None,
    forwarding: Forwarding | None = None,
) -> AsyncGenerator[Opened]:
    scripted = port or Scripted()
    endpoint = Endpoint(forwarding)
    await endpoint.start()
    bridge = endpoint.open(given or invocation(), scripted)
    served = Opened(endpoint, bridge, scripted)
    try:
        yield served
    finally:
        await served.http.aclose()
        await asyncio.to_thread(served.client.close)
        await endpoint.close()


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(SCENARIO_S_MAX):
            await scenario

    asyncio.run(limited())


INVALID: Final = "InvalidParameterValueException"
BAD_TOKEN: Final = "Invalid checkpoint token"


def test_the_event_is_lambdas_envelope() -> None:
    async def scenario() -> None:
        async with opened(given=invocation(step(1, '"r"'))) as served:
            token = served.bridge.token
            assert json.loads(served.bridge.event()) == {
                "DurableExecutionArn": ARN,
                "CheckpointToken": token,
                "InitialExecutionState": {
                    "Operations": [
                        {
                            "Id": "0" * 32,
                            "Type": "EXECUTION",
                            "Name": "name",
                            "Status": "STARTED",
                            "StartTimestamp": 1_000,
                            "ExecutionDetails": {"InputPayload": '{"a": 1}'},
                        },
                        {
                            "Id": "s1",
                            "Type": "STEP",
                            "Status": "SUCCEEDED",
                            "StartTimestamp": 2_500,
                            "EndTimestamp": 2_501,
                            "StepDetails": {"Attempt": 1, "Result": '"r"'},
                        },
                    ],
                    "NextMarker": "",
                },
                "UpdatedOperationIds": ["s1"],
            }

    play(scenario())


@pytest.mark.parametrize("payload_bytes", [10, PAGE_BYTES_MAX + 1])
def test_what_is_too_much_for_an_event_follows_in_pages(payload_bytes: int) -> None:
    async def scenario() -> None:
        steps = [step(number, "x" * 900_000) for number in range(12)]
        given = invocation(*steps, payload="y" * payload_bytes)
        async with opened(given=given) as served:
            event = json.loads(served.bridge.event())
            state = event["InitialExecutionState"]
            found = [each["Id"] for each in state["Operations"]]
            assert (found == []) is (payload_bytes > PAGE_BYTES_MAX)
            pages = 0
            marker = state["NextMarker"]
            while marker:
                answer = await served.call(
                    "get_durable_execution_state",
                    DurableExecutionArn=ARN,
                    CheckpointToken=event["CheckpointToken"],
                    Marker=marker,
                    MaxItems=1_000,
                )
                found += [each["Id"] for each in answer["Operations"]]
                marker = answer.get("NextMarker")
                pages += 1
            assert found == ["0" * 32, *(f"s{number}" for number in range(12))]
            assert pages > 1

    play(scenario())


def test_a_checkpoint_is_submitted_whole_and_its_token_used_up() -> None:
    async def scenario() -> None:
        async with opened() as served:
            token = served.bridge.token
            second = {"Id": "s1", "Type": "STEP", "Action": "SUCCEED", "Payload": "1"}
            answer = await served.checkpoint(token, UPDATE, second)
            ((updates, urgent),) = served.port.calls
            assert [update.action for update in updates] == [
                OperationAction.START,
                OperationAction.SUCCEED,
            ]
            assert urgent
            assert answer["CheckpointToken"] == served.bridge.token != token
            assert answer["NewExecutionState"] == {"Operations": []}
            status, code, message = await served.refusal(served.checkpoint(token))
            assert (status, code, message.startswith(BAD_TOKEN)) == (400, INVALID, True)
            assert len(served.port.calls) == 1

    play(scenario())


def test_the_same_call_again_is_the_same_checkpoint() -> None:
    async def scenario() -> None:
        async with opened() as served:
            token = served.bridge.token
            first = await served.checkpoint(token, ClientToken="once")
            again = await served.checkpoint(token, ClientToken="once")
            assert again["CheckpointToken"] == first["CheckpointToken"]
            assert len(served.port.calls) == 1

    play(scenario())


def test_a_repeat_waits_for_the_call_that_is_under_way() -> None:
    async def scenario() -> None:
        port = HeldBack()
        async with opened(port) as served:
            token = served.bridge.token
            first = asyncio.create_task(served.checkpoint(token, ClientToken="once"))
            await port.wait_asked()
            again = asyncio.create_task(served.checkpoint(token, ClientToken="once"))
            other = await served.refusal(served.checkpoint(token, ClientToken="other"))
            assert other[2].startswith(BAD_TOKEN)
            port.resolve(None)
            assert (await first)["CheckpointToken"] == (await again)["CheckpointToken"]
            assert len(port.calls) == 1

    play(scenario())


class HeldBack(Scripted):
    """Answers when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = asyncio.Event()

    def submit(self, updates: Any, *, urgent: bool) -> Any:
        self._asked.set()
        return super().submit(updates, urgent=False)

    async def wait_asked(self) -> None:
        await self._asked.wait()


def test_the_answer_holds_what_changed() -> None:
    class Telling(Scripted):
        def resolve(self, error: BaseException | None) -> None:
            assert self._listener is not None
            self._listener(CheckpointAnswer((step(1, "1"), step(2, "2")), revoked=False))
            super().resolve(error)

    async def scenario() -> None:
        async with opened(Telling()) as served:
            answer = await served.checkpoint(served.bridge.token)
            operations = answer["NewExecutionState"]["Operations"]
            assert [each["Id"] for each in operations] == ["s1", "s2"]
            assert operations[0]["EndTimestamp"].timestamp() == 2.501

    play(scenario())


def test_a_refused_checkpoint_keeps_the_token() -> None:
    async def scenario() -> None:
        port = Scripted(CheckpointRefused("Cannot start a WAIT that already exist."))
        async with opened(port) as served:
            token = served.bridge.token
            refusal = await served.refusal(served.checkpoint(token))
            assert refusal == (400, INVALID, "Cannot start a WAIT that already exist.")
            assert "CheckpointToken" in await served.checkpoint(token)

    play(scenario())


def test_after_a_checkpoint_that_could_not_be_recorded_nothing_is() -> None:
    async def scenario() -> None:
        async with opened(Scripted(CheckpointUnavailable("disk full"))) as served:
            token = served.bridge.token
            for _ in range(2):
                status, code, message = await served.refusal(served.checkpoint(token))
                assert (status, code) == (503, "ServiceException")
                assert "disk full" in message
            assert len(served.port.calls) == 1

    play(scenario())


def test_a_turn_that_has_passed_is_an_invalid_token() -> None:
    async def scenario() -> None:
        async with opened(Scripted(TurnPassed())) as served:
            refusal = await served.refusal(served.checkpoint(served.bridge.token))
            assert refusal == (
                *(400, INVALID),
                f"{BAD_TOKEN}: the turn of this invocation has passed",
            )

    play(scenario())


def test_a_revoked_turn_is_an_answer_without_a_token() -> None:
    async def scenario() -> None:
        async with opened(Scripted(revoked=True)) as served:
            answer = await served.checkpoint(served.bridge.token)
            assert "CheckpointToken" not in answer
            refusal = await served.refusal(served.checkpoint(served.bridge.token))
            assert refusal[2] == f"{BAD_TOKEN}: the turn was revoked"

    play(scenario())


def test_tokens_of_others_are_refused() -> None:
    async def scenario() -> None:
        async with opened() as served:
            token = served.bridge.token
            other = await served.refusal(
                served.call(
                    "checkpoint_durable_execution",
                    DurableExecutionArn=ARN.replace("name", "other"),
                    CheckpointToken=token,
                )
            )
            assert other[2] == f"{BAD_TOKEN}: it belongs to another execution"
            made_up = await served.refusal(served.checkpoint("QUJDRA=="))
            assert made_up[2].startswith(f"{BAD_TOKEN}: its invocation is not running here")
            served.endpoint.shut(served.bridge)
            ended = await served.refusal(served.checkpoint(token))
            assert ended[2].startswith(f"{BAD_TOKEN}: its invocation is not running here")
            assert served.port.calls == []

    play(scenario())


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "InvalidRequestContentException"),
        (b"\xff", 400, "InvalidRequestContentException"),
        (b"[]", 400, INVALID),
        (b"{}", 400, INVALID),
        (b'{"CheckpointToken": 1}', 400, INVALID),
        (b'{"CheckpointToken": "!"}', 400, INVALID),
    ],
)
def test_malformed_checkpoints_are_refused(body: bytes, status: int, code: str) -> None:
    async def scenario() -> None:
        async with opened() as served:
            answer = await served.http.post(checkpoint_path(), content=body)
            assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (status, code)

    play(scenario())


def checkpoint_path() -> str:
    return f"/2025-12-01/durable-executions/{quote(ARN, safe='')}/checkpoint"


def test_a_checkpoint_holds_so_many_updates() -> None:
    async def scenario() -> None:
        async with opened() as served:
            many = [{**UPDATE, "Id": f"s{n}"} for n in range(CHECKPOINT_UPDATES_MAX + 1)]
            refusal = await served.refusal(served.checkpoint(served.bridge.token, *many))
            assert refusal[:2] == (400, INVALID)
            await served.checkpoint(served.bridge.token, *many[:-1])
            assert len(served.port.calls[0][0]) == CHECKPOINT_UPDATES_MAX

    play(scenario())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_a_bound(chunked: bool) -> None:
    async def scenario() -> None:
        async with opened() as served:
            whole = b"x" * (CHECKPOINT_BODY_BYTES_MAX + 1)

            async def pieces() -> AsyncGenerator[bytes]:
                for start in range(0, len(whole), 1_000_000):
                    yield whole[start : start + 1_000_000]

            try:
                answer = await served.http.post(
                    checkpoint_path(), content=pieces() if chunked else whole, timeout=30
                )
            except httpx.TransportError:
                # The connection closed while the rest was still being sent.
                return
            assert answer.status_code == 413

    play(scenario())


def test_pages_in_a_browser_are_refused() -> None:
    async def scenario() -> None:
        async with opened() as served:
            answer = await served.http.post(checkpoint_path(), headers={"origin": "http://evil"})
            assert answer.status_code == 403

    play(scenario())


def test_what_is_no_http_is_answered_and_cut_off() -> None:
    async def scenario() -> None:
        async with opened() as served:
            port = int(served.endpoint.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\x00\x01 nonsense\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()

    play(scenario())


def test_without_a_node_other_calls_are_refused_with_the_way_out() -> None:
    async def scenario() -> None:
        async with opened() as served:
            status, code, message = await served.refusal(served.call("invoke", FunctionName="f"))
            assert (status, code) == (404, "UnknownOperationException")
            assert "--lambda-endpoint URL" in message

    play(scenario())


@asynccontextmanager
async def node(respond: Callable[[Request], Answer]) -> AsyncGenerator[str]:
    """Serve what stands for a node's Lambda API."""

    async def answer(request: Request) -> Answer:
        return respond(request)

    server = HttpServer(answer)
    url = await server.start()
    try:
        yield url
    finally:
        await server.close()


def test_other_calls_are_passed_on_as_they_came(tmp_path: Any) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret\n")
    seen: list[Request] = []

    def respond(request: Request) -> Answer:
        seen.append(request)
        headers = (("x-amz-executed-version", "$LATEST"), ("content-type", "application/json"))
        return Answer(200, headers, b'"done"')

    async def scenario(connection: ConnectionSettings) -> None:
        async with node(respond) as url, opened(forwarding=Forwarding(url, connection)) as served:
            answer = await served.call("invoke", FunctionName="g:1", Payload=b'{"a": 1}')
            assert answer["Payload"].read() == b'"done"'
            assert answer["ExecutedVersion"] == "$LATEST"

    play(scenario(ConnectionSettings()))
    play(scenario(ConnectionSettings(token_file=str(token_file))))
    signed, borne = seen
    assert (signed.method, signed.body) == ("POST", b'{"a": 1}')
    assert signed.target == "/2015-03-31/functions/g%3A1/invocations"
    assert (signed.header("authorization") or "").startswith("AWS4-HMAC-SHA256 ")
    assert borne.header("authorization") == "Bearer secret"


def test_a_node_that_is_away_is_told_as_such() -> None:
    async def scenario() -> None:
        forwarding = Forwarding("http://127.0.0.1:9", ConnectionSettings())
        async with opened(forwarding=forwarding) as served:
            status, code, _ = await served.refusal(served.call("invoke", FunctionName="f"))
            assert (status, code) == (503, "ServiceException")

    play(scenario())


@pytest.mark.parametrize("url", ["127.0.0.1:7601", "ftp://host", "http://", "http://h/path"])
def test_an_endpoint_has_to_be_a_url_of_a_host(url: str) -> None:
    with pytest.raises(SettingsError, match="is not http"):
        Forwarding(url, ConnectionSettings())


def test_markers_are_checked() -> None:
    async def scenario() -> None:
        async with opened() as served:
            for marker in ("x", "at-", "at--1", "at-99"):
                refusal = await served.refusal(
                    served.call(
                        "get_durable_execution_state",
                        DurableExecutionArn=ARN,
                        CheckpointToken=served.bridge.token,
                        Marker=marker,
                    )
                )
                assert refusal[:2] == (400, INVALID)

    play(scenario())
