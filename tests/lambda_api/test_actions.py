"""Actions on executions by clients of AWS: stop, pause, resume, delete."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from perdure_proto.v1 import client_pb2, model_pb2
from tests.gateway.serving import SteppedClock, run
from tests.lambda_api.serving import UNKNOWN_ARN, LambdaServed, lambda_serving, worker

ACTIONS = [
    "stop_durable_execution",
    "pause_durable_execution",
    "resume_durable_execution",
    "delete_durable_execution",
]


async def look(api: LambdaServed, arn: str) -> model_pb2.Execution:
    request = client_pb2.GetExecutionRequest(execution_arn=arn)
    return await api.served.executions.GetExecution(request)


async def ended(api: LambdaServed) -> str:
    """Return the ARN of an execution that has succeeded."""
    peer = await worker(api)
    arn = await api.started()
    await peer.complete((await peer.invocation()).checkpoint_token, result="1")
    return arn


def test_stopping_tells_when_and_keeps_the_error() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            peer = await worker(api)
            arn = await api.started()
            await peer.invocation()
            clock.advance(1_234)
            error = {"ErrorMessage": "enough", "ErrorType": "Impatience"}
            answer = await api.call("stop_durable_execution", DurableExecutionArn=arn, Error=error)
            when = datetime.fromtimestamp(clock.now_ms() / 1_000, UTC)
            assert answer["StopTimestamp"] == when
            again = await api.call("stop_durable_execution", DurableExecutionArn=arn)
            assert again["StopTimestamp"] == when
            execution = await look(api, arn)
            assert (execution.status, execution.error.error_message) == ("STOPPED", "enough")

    run(main)


def test_pausing_and_resuming_are_accepted_twice() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            arn = await api.started()
            reason = {"Reason": "lunch", "ExecutionTimeoutPaused": False}
            for _ in range(2):
                assert await status_of(api, "pause", arn, **reason) == 202
                execution = await look(api, arn)
                assert execution.status == "PAUSED"
                assert execution.pause_details.reason == "lunch"
                assert not execution.pause_details.execution_timeout_paused
            for _ in range(2):
                assert await status_of(api, "resume", arn) == 202
                assert (await look(api, arn)).status == "RUNNING"

    run(main)


def test_only_what_has_ended_is_deleted() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            arn = await ended(api)
            running = await api.started(execution_name="running")
            refused = await api.failure("delete_durable_execution", DurableExecutionArn=running)
            assert refused[:2] == (409, "ResourceConflictException")
            answer = await api.call("delete_durable_execution", DurableExecutionArn=arn)
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
            assert answer["DeletionRequestTimestamp"].tzinfo is not None
            assert (await look(api, arn)).status == "DELETING"

    run(main)


def test_what_has_ended_is_neither_paused_nor_resumed() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            arn = await ended(api)
            for action in ("pause", "resume"):
                name = f"{action}_durable_execution"
                refused = await api.failure(name, DurableExecutionArn=arn)
                assert refused[:2] == (409, "ResourceConflictException")

    run(main)


@pytest.mark.parametrize("action", ACTIONS)
def test_arns_that_name_nothing_or_are_malformed_are_told_apart(action: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            unknown = await api.failure(action, DurableExecutionArn=UNKNOWN_ARN)
            assert unknown[:2] == (404, "ResourceNotFoundException")
            malformed = await api.failure(action, DurableExecutionArn="arn:aws:lambda:nowhere")
            assert malformed[:2] == (400, "InvalidParameterValueException")
            assert "malformed execution ARN 'arn:aws:lambda:nowhere'" in malformed[2]

    run(main)


def test_bodies_are_read_strictly() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            path = f"/2025-12-01/durable-executions/{quote(await api.started(), safe='')}/pause"
            for body, code in [
                (b"{", "InvalidRequestContentException"),
                (b'{"Unknown": ' + b"[" * 5_000, "InvalidRequestContentException"),
                (b'{"Reason": "\xff"}', "InvalidRequestContentException"),
                (b"[]", "InvalidParameterValueException"),
                (b'{"Reason": 1}', "InvalidParameterValueException"),
                (b'{"ClientToken": ""}', "InvalidParameterValueException"),
                (b'{"Reason": "%s"}' % (b"x" * 1_025), "InvalidParameterValueException"),
            ]:
                answer = await api.http.post(path, content=body)
                assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, code)
            answer = await api.http.post(path, content=b"x" * 20_000)
            assert answer.status_code == 413

    run(main)


async def status_of(api: LambdaServed, action: str, arn: str, **more: object) -> int:
    """Call the action, and return the status."""
    name = f"{action}_durable_execution"
    answer = await api.call(name, DurableExecutionArn=arn, **more)
    status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
    return status
