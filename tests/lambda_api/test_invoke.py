"""Invoke, called by clients of AWS."""

import asyncio
import base64
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from perdure_gateway.admission.readiness import NodeStatus, Readiness
from perdure_gateway.lambda_api.application import LambdaApi
from perdure_gateway.lambda_api.invoke import Invoker
from perdure_host.memory_store import MemoryStore
from perdure_proto.v1 import worker_pb2
from tests.gateway.serving import Peer, registration, run
from tests.lambda_api.calls import invoke
from tests.lambda_api.serving import LambdaServed, lambda_serving, worker
from tests.store.faulty_store import FaultyStore

INVOKE = "/2015-03-31/functions/f/invocations"


def impatient(readiness: Readiness) -> LambdaApi:
    return LambdaApi(readiness, Invoker(wait_ms=1))


async def while_served(
    peer: Peer, call: Coroutine[Any, Any, dict[str, Any]], status: str, **more: Any
) -> dict[str, Any]:
    """Return the answer of a call during which the worker ends one invocation."""
    calling = asyncio.ensure_future(call)
    await peer.complete((await peer.invocation()).checkpoint_token, status, **more)
    return await calling


def test_a_synchronous_call_returns_the_result() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            calling = invoke(api, Payload=b'{"a": 1}', DurableExecutionName="order-1")
            answer = await while_served(peer, calling, "SUCCEEDED", result='{"b": 2}')
            assert (answer["StatusCode"], answer["Payload"]) == (200, b'{"b": 2}')
            assert answer["ExecutedVersion"] == "$LATEST"
            assert "FunctionError" not in answer
            arn = answer["DurableExecutionArn"]
            assert "/durable-execution/order-1/" in arn
            execution = await api.call("get_durable_execution", DurableExecutionArn=arn)
            assert (execution["InputPayload"], execution["Status"]) == ('{"a": 1}', "SUCCEEDED")

    run(main)


def test_the_end_is_in_the_history_when_the_call_returns() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            answer = await while_served(await worker(api), invoke(api), "SUCCEEDED", result="1")
            arn = answer["DurableExecutionArn"]
            page = await api.call(
                "get_durable_execution_history", DurableExecutionArn=arn, ReverseOrder=True
            )
            assert page["Events"][0]["EventType"] == "ExecutionSucceeded"

    run(main)


def test_no_result_is_null_and_no_payload_an_empty_object() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            calling = asyncio.ensure_future(invoke(api))
            invocation = await peer.invocation()
            assert invocation.operations[0].execution_details.input_payload == "{}"
            await peer.complete(invocation.checkpoint_token)
            assert (await calling)["Payload"] == b"null"

    run(main)


def test_a_failure_is_an_answer_with_the_error_as_its_body() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            error = {"error_message": "boom", "error_type": "ValueError", "stack_trace": ["line 1"]}
            answer = await while_served(await worker(api), invoke(api), "FAILED", error=error)
            assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
            assert json.loads(answer["Payload"]) == {
                "errorMessage": "boom",
                "errorType": "ValueError",
                "stackTrace": ["line 1"],
            }

    run(main)


def test_a_stopped_execution_is_a_failure_too() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            calling = asyncio.ensure_future(invoke(api))
            arn = (await peer.invocation()).execution_arn
            await api.call("stop_durable_execution", DurableExecutionArn=arn)
            answer = await calling
            assert answer["FunctionError"] == "Unhandled"
            assert json.loads(answer["Payload"]).keys() == {
                "errorMessage",
                "errorType",
                "stackTrace",
            }

    run(main)


def test_an_event_is_accepted_at_once() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            answer = await invoke(api, InvocationType="Event", Payload=b"[1]")
            assert (answer["StatusCode"], answer["Payload"]) == (202, b"")
            invocation = await peer.invocation()
            assert invocation.execution_arn == answer["DurableExecutionArn"]
            assert invocation.operations[0].execution_details.input_payload == "[1]"

    run(main)


def test_a_dry_run_starts_nothing() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            answer = await invoke(api, InvocationType="DryRun")
            assert (answer["StatusCode"], answer["Payload"]) == (204, b"")
            assert "DurableExecutionArn" not in answer
            page = await api.call("list_durable_executions_by_function", FunctionName="f")
            assert page["DurableExecutions"] == []

    run(main)


def test_a_name_stands_for_one_execution() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            named = {"DurableExecutionName": "order-1", "Payload": b"1"}
            first = await while_served(peer, invoke(api, **named), "SUCCEEDED", result="2")
            again = await invoke(api, **named)
            assert again["DurableExecutionArn"] == first["DurableExecutionArn"]
            assert again["Payload"] == b"2"
            event = await invoke(api, **named, InvocationType="Event")
            assert event["DurableExecutionArn"] == first["DurableExecutionArn"]
            equal = await invoke(api, **{**named, "Payload": b" 1.0 "}, InvocationType="Event")
            assert equal["DurableExecutionArn"] == first["DurableExecutionArn"]
            other = await api.failure("invoke", FunctionName="f", **{**named, "Payload": b"3"})
            assert other[:2] == (409, "DurableExecutionAlreadyStartedException")

    run(main)


def test_an_empty_name_is_refused() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            answer = await api.http.post(
                "/2015-03-31/functions/f/invocations",
                headers={"X-Amz-Durable-Execution-Name": "", "X-Amz-Invocation-Type": "Event"},
            )
            assert answer.status_code == 400
            assert "header X-Amz-Durable-Execution-Name" in answer.text
            answer = await api.http.get(
                "/2025-12-01/functions/f/durable-executions", params={"DurableExecutionName": ""}
            )
            assert answer.status_code == 400

    run(main)


@pytest.mark.parametrize(
    "target",
    [
        {"FunctionName": "f:$LATEST"},
        {"FunctionName": "f", "Qualifier": "$LATEST"},
        {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f"},
        {"FunctionName": "arn:perdure:lambda:default:000000000000:function:f:$LATEST"},
    ],
)
def test_functions_are_invoked_by_names_and_arns(target: dict[str, str]) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            answer = await invoke(api, **target, InvocationType="Event")
            assert ":function:f:$LATEST/" in answer["DurableExecutionArn"]

    run(main)


def test_unqualified_names_of_durable_functions_are_refused_where_they_have_to_be() -> None:
    def make_api(readiness: Readiness) -> LambdaApi:
        return LambdaApi(readiness, Invoker(require_qualified=True))

    async def main() -> None:
        async with lambda_serving(make_api=make_api) as api:
            plain = worker_pb2.FunctionDefinition(function_name="p")
            durable = worker_pb2.FunctionDefinition(function_name="f", durable=True)
            await Peer.connect(api.served, registration(functions=[plain, durable]))
            event = {"InvocationType": "Event"}
            arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
            for name in ("f", "function:f", arn):
                refused = await api.failure("invoke", FunctionName=name, **event)
                message = "You cannot invoke a durable function using an unqualified ARN."
                assert refused == (400, "InvalidParameterValueException", message)
                await api.call("invoke", FunctionName=f"{name}:$LATEST", **event)
                await api.call("invoke", FunctionName=name, Qualifier="$LATEST", **event)
                await api.call("get_function", FunctionName=name)
            await api.call("invoke", FunctionName="p", **event)

    run(main)


def test_a_qualifier_must_not_contradict_the_name() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            refused = await api.failure("invoke", FunctionName="f:$LATEST", Qualifier="7")
            assert refused[:2] == (400, "InvalidParameterValueException")
            assert "does not match the specified qualifier" in refused[2]
            for version in ("$LATEST.PUBLISHED", "7", "live"):
                refused = await api.failure("invoke", FunctionName="f", Qualifier=version)
                assert refused[:2] == (404, "ResourceNotFoundException")

    run(main)


def test_what_cannot_be_invoked_is_refused() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            refusals: list[tuple[dict[str, Any], int, str]] = [
                ({"FunctionName": "g"}, 404, "ResourceNotFoundException"),
                ({"FunctionName": "f:7"}, 404, "ResourceNotFoundException"),
                ({"Payload": b"{"}, 400, "InvalidRequestContentException"),
                ({"Payload": b"1 2"}, 400, "InvalidRequestContentException"),
                ({"TenantId": "t"}, 400, "InvalidParameterValueException"),
                ({"DurableExecutionName": "a b"}, 400, "InvalidParameterValueException"),
                ({"InvocationType": "Later"}, 400, "InvalidParameterValueException"),
            ]
            for arguments, status, code in refusals:
                refused = await api.failure("invoke", **{"FunctionName": "f", **arguments})
                assert refused[:2] == (status, code)
            answer = await api.http.post(INVOKE, content=b'"\xff"')
            assert answer.status_code == 400

    run(main)


@pytest.mark.parametrize(("kind", "bytes_max"), [("RequestResponse", 6_291_456), ("Event", 2**20)])
def test_payloads_may_be_as_large_as_lambda_takes(kind: str, bytes_max: int) -> None:
    async def main() -> None:
        async with lambda_serving(make_api=impatient) as api:
            await worker(api, slots=0)
            payload = b'"' + b"x" * (bytes_max - 2) + b'"'
            more = {"InvocationType": kind, "DurableExecutionName": "large"}
            arn = (await invoke(api, **more, Payload=payload))["DurableExecutionArn"]
            execution = await api.call("get_durable_execution", DurableExecutionArn=arn)
            assert execution["InputPayload"].encode() == payload
            large = await api.failure("invoke", FunctionName="f", **more, Payload=payload + b" ")
            assert large[:2] == (413, "RequestTooLargeException")

    run(main)


def test_a_call_that_waits_too_long_fails_and_the_execution_goes_on() -> None:
    async def main() -> None:
        async with lambda_serving(make_api=impatient) as api:
            await worker(api, slots=0)
            answer = await invoke(api)
            assert json.loads(answer["Payload"])["errorType"] == "Invoke.Timeout"
            arn = answer["DurableExecutionArn"]
            execution = await api.call("get_durable_execution", DurableExecutionArn=arn)
            assert execution["Status"] == "RUNNING"

    run(main)


def test_waits_are_bounded_and_those_who_leave_make_room() -> None:
    async def main() -> None:
        def make_api(readiness: Readiness) -> LambdaApi:
            return LambdaApi(readiness, Invoker(waits=1))

        async with lambda_serving(make_api=make_api) as api:
            peer = await worker(api)
            patient = asyncio.ensure_future(api.http.post(INVOKE))
            await peer.invocation()
            refused = await api.failure("invoke", FunctionName="f")
            assert refused[:2] == (429, "TooManyRequestsException")
            patient.cancel()
            await asyncio.gather(patient, return_exceptions=True)
            # The server hears of it a moment later.
            calling = asyncio.ensure_future(invoke_when_there_is_room(api))
            await peer.complete((await peer.invocation()).checkpoint_token, result="1")
            assert await calling == 200

    async def invoke_when_there_is_room(api: LambdaServed) -> int:
        while (answer := await api.http.post(INVOKE)).status_code == 429:
            pass
        return answer.status_code

    run(main)


def test_who_waits_is_let_go_when_the_node_stops() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            waiting = asyncio.ensure_future(api.http.post(INVOKE))
            await peer.invocation()
            api.readiness.set_status(NodeStatus.DRAINING)
            answer = await waiting
            assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (
                503,
                "ServiceException",
            )

    run(main)


def test_an_unreachable_database_is_an_error_to_retry() -> None:
    async def main() -> None:
        store = FaultyStore(MemoryStore())
        async with lambda_serving(store=store) as api:
            await worker(api, slots=0)
            store.away = True
            failing = await api.failure("invoke", FunctionName="f", InvocationType="Event")
            store.away = False
            assert failing[:2] == (503, "ServiceException")

    run(main)


def test_a_trace_header_stays_with_the_execution() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            headers = {"x-amz-invocation-type": "Event", "x-amzn-trace-id": "Root=1;Sampled=1"}
            answer = await api.http.post(INVOKE, headers=headers)
            arn = answer.headers["x-amz-durable-execution-arn"]
            execution = await api.call("get_durable_execution", DurableExecutionArn=arn)
            assert execution["TraceHeader"] == {"XAmznTraceId": "Root=1;Sampled=1"}
            assert (await peer.invocation()).trace_header == "Root=1;Sampled=1"

    run(main)


def test_a_trace_header_is_bounded_and_a_blank_one_is_none() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            event = {"x-amz-invocation-type": "Event"}
            long = await api.http.post(INVOKE, headers={**event, "x-amzn-trace-id": "x" * 8_193})
            assert long.status_code == 400
            assert "X-Amzn-Trace-Id" in long.text
            longest = {**event, "x-amzn-trace-id": "x" * 8_192}
            assert (await api.http.post(INVOKE, headers=longest)).status_code == 202
            blank = await api.http.post(INVOKE, headers={**event, "x-amzn-trace-id": ""})
            arn = blank.headers["x-amz-durable-execution-arn"]
            execution = await api.call("get_durable_execution", DurableExecutionArn=arn)
            assert "TraceHeader" not in execution

    run(main)


def client_context(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_client_context_goes_with_every_invocation() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            encoded = client_context('{"custom": {"device": "till 4"}}')
            calling = asyncio.ensure_future(invoke(api, ClientContext=encoded))
            first = await peer.invocation()
            assert first.client_context == encoded
            await peer.complete(first.checkpoint_token, "ERROR")
            again = await peer.invocation()
            assert again.client_context == encoded
            await peer.complete(again.checkpoint_token, "SUCCEEDED")
            assert (await calling)["StatusCode"] == 200

    run(main)


def test_a_client_context_is_of_synchronous_calls_alone_and_no_part_of_the_payload() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            headers = {
                "x-amz-invocation-type": "Event",
                "x-amz-client-context": client_context("{}"),
                "x-amz-durable-execution-name": "order-1",
            }
            started = await api.http.post(INVOKE, headers=headers)
            assert started.status_code == 202
            assert not (await peer.invocation()).HasField("client_context")
            del headers["x-amz-client-context"]
            found = await api.http.post(INVOKE, headers=headers)
            arn = "x-amz-durable-execution-arn"
            assert (found.status_code, found.headers[arn]) == (202, started.headers[arn])

    run(main)


@pytest.mark.parametrize(
    "encoded",
    [
        *("{}", "e30", "e30=e30=", "ü", client_context("[1]"), client_context("null")),
        *(client_context("{"), client_context('{"a": ' + "[" * 2_600), "//79"),
    ],
)
def test_a_client_context_has_to_be_an_object_in_base64(encoded: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            # Latin-1, as a client sends what it does not look at.
            headers = [(b"x-amz-client-context", encoded.encode("latin-1"))]
            for kind in (b"RequestResponse", b"Event", b"DryRun"):
                more = [*headers, (b"x-amz-invocation-type", kind)]
                refused = await api.http.post(INVOKE, headers=more)
                assert refused.status_code == 400
                assert refused.headers["x-amzn-errortype"] == "InvalidRequestContentException"
                assert "Client context must be a valid Base64-encoded" in refused.text
            assert not (await api.call("list_durable_executions_by_function", FunctionName="f"))[
                "DurableExecutions"
            ]

    run(main)


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
def test_a_start_is_refused_by_the_header_that_is_wrong(kind: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            for header, value in (
                ("X-Amz-Durable-Execution-Name", "order 7"),
                ("X-Amz-Tenant-Id", "a" * 257),
                ("X-Amzn-Trace-Id", "x" * 8_193),
            ):
                headers = {"x-amz-invocation-type": kind, header: value}
                refused = await api.http.post(INVOKE, headers=headers)
                assert refused.status_code == 400
                assert refused.headers["x-amzn-errortype"] == "InvalidParameterValueException"
                assert f"header {header} " in refused.text

    run(main)


def test_a_client_context_is_bounded() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            longest = client_context('{"a": "' + "x" * 2_676 + '"}')
            assert len(longest) == 3_580
            dry = {"x-amz-invocation-type": "DryRun"}
            taken = await api.http.post(INVOKE, headers={**dry, "x-amz-client-context": longest})
            assert taken.status_code == 204
            longer = client_context('{"a": "' + "x" * 2_679 + '"}')
            assert len(longer) == 3_584
            refused = await api.http.post(INVOKE, headers={**dry, "x-amz-client-context": longer})
            assert refused.status_code == 400
            assert "3,584 characters of base64; 1 to 3,583 are allowed" in refused.text

    run(main)


def test_a_log_type_is_one_of_the_model() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            refused = await api.failure("invoke", FunctionName="f", LogType="Head")
            assert refused[:2] == (400, "InvalidParameterValueException")
            assert "None | Tail" in refused[2]
            answer = await while_served(peer, invoke(api, LogType="Tail"), "SUCCEEDED")
            assert "LogResult" not in answer

    run(main)
