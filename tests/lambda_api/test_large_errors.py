"""Large errors: up to the mebibyte that the model allows, stored and returned whole."""

import asyncio
import json
from typing import Any

from perdure_core.limits import ERROR_BYTES_MAX
from perdure_proto.v1 import client_pb2, worker_pb2
from tests.gateway.serving import run
from tests.lambda_api.calls import STEP, HeldInvocation, events, invoke, open_callback
from tests.lambda_api.serving import LambdaServed, lambda_serving, worker

INVALID = (400, "InvalidParameterValueException")


def error_of(size: int) -> dict[str, Any]:
    """Return an error of so many bytes, most of which JSON escapes."""
    trace = ["é\n" * (size // 8), "last"]
    rest = size - sum(len(line.encode()) for line in trace) - len("Refused") - len('{"a": 1}')
    return {
        "ErrorMessage": "m" * rest,
        "ErrorType": "Refused",
        "ErrorData": '{"a": 1}',
        "StackTrace": trace,
    }


LARGEST = error_of(ERROR_BYTES_MAX)
TOO_LARGE = error_of(ERROR_BYTES_MAX + 1)


async def described(api: LambdaServed, arn: str, **more: Any) -> dict[str, Any]:
    return await api.call("get_durable_execution", DurableExecutionArn=arn, **more)


def test_a_step_fails_with_the_largest_error_and_a_replay_finds_it_whole() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            held = await HeldInvocation.begin(api, peer)
            refused = await held.failure({**STEP, "Action": "FAIL", "Error": TOO_LARGE})
            assert refused[:2] == INVALID
            assert "1,048,577 bytes; at most 1,048,576" in refused[2]
            retry = {"StepOptions": {"NextAttemptDelaySeconds": 1}}
            retried = {**STEP, "Id": "r", "Action": "RETRY", "Error": LARGEST, **retry}
            answered = await held.checkpoint({**STEP, "Action": "FAIL", "Error": LARGEST}, retried)
            assert [each["StepDetails"]["Error"] for each in answered] == [LARGEST, LARGEST]
            state = await held.state()
            assert [each["StepDetails"]["Error"] for each in state[1:]] == [LARGEST, LARGEST]
            await peer.complete(held.token, "PENDING")
            by_type = {each["EventType"]: each for each in await events(api, held.arn)}
            failed = by_type["StepFailed"]["StepFailedDetails"]["Error"]
            assert failed == {"Payload": LARGEST, "Truncated": False}
            bare = await events(api, held.arn, IncludeExecutionData=False)
            assert bare[1]["StepFailedDetails"]["Error"] == {"Truncated": True}

    run(main)


def test_a_page_of_large_errors_ends_early() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            held = await HeldInvocation.begin(api, peer)
            for number in range(6):
                failed = {**STEP, "Id": str(number), "Action": "FAIL", "Error": LARGEST}
                await held.checkpoint(failed)
            pages = await api.pages("get_durable_execution_history", DurableExecutionArn=held.arn)
            assert len(pages) > 2
            found = [event for page in pages for event in page["Events"]]
            assert [each["EventId"] for each in found] == list(range(1, 8))
            assert found[-1]["StepFailedDetails"]["Error"]["Payload"] == LARGEST

    run(main)


def test_a_callback_fails_with_the_largest_error() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            arn, callback_id = await open_callback(api, peer)
            fail = "send_durable_execution_callback_failure"
            refused = await api.failure(fail, CallbackId=callback_id, Error=TOO_LARGE)
            assert refused[:2] == INVALID
            await api.call(fail, CallbackId=callback_id, Error=LARGEST)
            found = (await peer.invocation()).operations[1].callback_details.error
            assert found.error_message == LARGEST["ErrorMessage"]
            assert list(found.stack_trace) == LARGEST["StackTrace"]
            error = (await events(api, arn))[-1]["CallbackFailedDetails"]["Error"]
            assert error == {"Payload": LARGEST, "Truncated": False}

    run(main)


def test_a_stopped_execution_tells_the_largest_error() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            arn = await api.started()
            stop = "stop_durable_execution"
            refused = await api.failure(stop, DurableExecutionArn=arn, Error=TOO_LARGE)
            assert refused[:2] == INVALID
            await api.call(stop, DurableExecutionArn=arn, Error=LARGEST)
            execution = await described(api, arn)
            assert (execution["Error"], execution["ExecutionDataIncluded"]) == (LARGEST, True)
            assert "Error" not in await described(api, arn, IncludeExecutionData=False)
            request = client_pb2.GetExecutionRequest(execution_arn=arn)
            found = (await api.served.executions.GetExecution(request)).error
            assert found.error_message == LARGEST["ErrorMessage"]
            request.exclude_execution_data = True
            beginning = (await api.served.executions.GetExecution(request)).error
            assert (beginning.error_type, list(beginning.stack_trace)) == ("Refused", [])
            assert beginning.error_message.startswith("mmm")
            assert beginning.error_message.endswith("…")
            asked = client_pb2.GetExecutionHistoryRequest(execution_arn=arn)
            page = await api.served.executions.GetExecutionHistory(asked)
            assert page.events[-1].error.error_message == LARGEST["ErrorMessage"]

    run(main)


def test_a_waiting_caller_receives_the_whole_error() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            calling = asyncio.ensure_future(invoke(api))
            held = await HeldInvocation.resume(api, peer)
            outcome = {"Id": "end", "Type": "EXECUTION", "Action": "FAIL", "Error": LARGEST}
            await held.checkpoint(outcome)
            await peer.complete(held.token, "FAILED")
            answer = await calling
            assert answer["FunctionError"] == "Unhandled"
            body = json.loads(answer["Payload"])
            assert (body["errorType"], body["errorMessage"]) == (
                "Refused",
                LARGEST["ErrorMessage"],
            )
            assert body["stackTrace"] == LARGEST["StackTrace"]

    run(main)


def test_an_outcome_beyond_the_bound_is_cut() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            held = await HeldInvocation.begin(api, peer)
            outcome = {"Id": "end", "Type": "EXECUTION", "Action": "FAIL", "Error": TOO_LARGE}
            await held.checkpoint(outcome)
            await peer.complete(held.token, "FAILED")
            execution = await described(api, held.arn)
            error = execution["Error"]
            assert (execution["Status"], error["ErrorType"]) == ("FAILED", "Refused")
            assert error["ErrorMessage"].startswith("mmm")
            assert "StackTrace" not in error

    run(main)


def test_a_child_passes_the_largest_error_to_its_parent() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            parent = await HeldInvocation.begin(api, peer)
            options = {"ChainedInvokeOptions": {"FunctionName": "f"}}
            await parent.checkpoint(
                {"Id": "i", "Type": "CHAINED_INVOKE", "Action": "START", **options}
            )
            await peer.complete(parent.token, "PENDING")
            child = await HeldInvocation.resume(api, peer)
            outcome = {"Id": "end", "Type": "EXECUTION", "Action": "FAIL", "Error": LARGEST}
            await child.checkpoint(outcome)
            await peer.complete(child.token, "FAILED")
            invocation = await peer.invocation()
            assert invocation.execution_arn == parent.arn
            error = invocation.operations[1].chained_invoke_details.error
            assert error.error_message == LARGEST["ErrorMessage"]

    run(main)


def test_a_worker_that_speaks_grpc_has_the_same_bound() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            await api.started()
            token = (await peer.invocation()).checkpoint_token
            update = worker_pb2.OperationUpdate(id="s", type="STEP", action="FAIL")
            update.error.error_message = "x" * ERROR_BYTES_MAX
            reply = await peer.checkpoint(token, update)
            await peer.complete(reply.checkpoint.checkpoint_token, "ERROR")
            again = await peer.invocation()
            assert again.operations[1].step_details.error == update.error

    run(main)
