"""Errors of the gateway: each has a status of its own and names the thing and the limit."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from perdure_core import refusals
from perdure_gateway.errors import (
    HeartbeatTimeout,
    NotServing,
    ResourceExhausted,
    SessionReplaced,
)
from perdure_gateway.status_codes import MESSAGE_CHARS_MAX, status_of
from perdure_host import errors
from perdure_host.access.bearer_tokens import Tokens
from perdure_host.channel import reason_of
from perdure_host.codec import MalformedMessage
from perdure_host.ports import ExecutionKey
from perdure_host.tokens import Signer, pack_marker
from perdure_proto.v1 import client_pb2, model_pb2, worker_pb2
from tests.gateway.serving import (
    Peer,
    Served,
    failure_of,
    registration,
    run,
    serving,
    start_request,
    step,
)

Code = grpc.StatusCode


def test_every_refusal_and_error_has_its_status() -> None:
    expected = {
        refusals.Invalid: Code.INVALID_ARGUMENT,
        MalformedMessage: Code.INVALID_ARGUMENT,
        refusals.Unknown: Code.NOT_FOUND,
        refusals.Quarantined: Code.DATA_LOSS,
        refusals.NameTaken: Code.ALREADY_EXISTS,
        refusals.StaleToken: Code.ABORTED,
        refusals.Ended: Code.FAILED_PRECONDITION,
        refusals.NotEnded: Code.FAILED_PRECONDITION,
        refusals.CallbackClosed: Code.FAILED_PRECONDITION,
        errors.StoreUnavailable: Code.UNAVAILABLE,
        errors.CommitUnknown: Code.UNAVAILABLE,
        errors.Fenced: Code.UNAVAILABLE,
        errors.ChangeRefused: Code.DATA_LOSS,
        NotServing: Code.UNAVAILABLE,
        HeartbeatTimeout: Code.UNAVAILABLE,
        SessionReplaced: Code.FAILED_PRECONDITION,
        ResourceExhausted: Code.RESOURCE_EXHAUSTED,
        KeyError: Code.INTERNAL,
    }
    assert {kind: status_of(kind("why")).code for kind in expected} == expected


def test_every_refusal_of_the_core_is_mapped() -> None:
    def kinds(kind: type[Exception]) -> list[type[Exception]]:
        return [each for below in kind.__subclasses__() for each in (below, *kinds(below))]

    internal = [
        kind for kind in kinds(refusals.Refused) if status_of(kind("why")).code is Code.INTERNAL
    ]
    assert internal == []


def test_an_unforeseen_error_tells_an_incident_and_nothing_else() -> None:
    status = status_of(RuntimeError("password=hunter2"))
    assert "hunter2" not in status.message
    assert "incident" in status.message


def test_a_long_message_is_cut() -> None:
    assert len(status_of(refusals.Invalid("x" * 5_000)).message) == MESSAGE_CHARS_MAX


ARN = "arn:perdure:lambda:default:000000000000:function:f:$LATEST/durable-execution/n/" + "0" * 32
E = client_pb2


def of_executions(name: str, request: Any) -> Callable[[Served], Awaitable[Any]]:
    return lambda served: getattr(served.executions, name)(request)


def of_callbacks(name: str, request: Any) -> Callable[[Served], Awaitable[Any]]:
    return lambda served: getattr(served.callbacks, name)(request)


def of_workers(name: str, request: Any) -> Callable[[Served], Awaitable[Any]]:
    return lambda served: getattr(served.workers, name)(request)


# Well-formed, and signed by another cluster.
FOREIGN_CALLBACK = Signer(b"x" * 32).sign_callback(ExecutionKey(1, "0" * 32), "c")

CALLS: list[tuple[str, Callable[[Served], Awaitable[Any]], grpc.StatusCode, str]] = [
    (
        "unknown function",
        of_executions("StartExecution", start_request(function_name="nobody")),
        Code.NOT_FOUND,
        "nobody",
    ),
    (
        "malformed function name",
        of_executions("StartExecution", start_request(function_name="no body")),
        Code.INVALID_ARGUMENT,
        "function_name 'no body' must be 1 to 64",
    ),
    (
        "function name too long",
        of_executions("StartExecution", start_request(function_name="f" * 65)),
        Code.INVALID_ARGUMENT,
        "must be 1 to 64",
    ),
    (
        "malformed execution name",
        of_executions("StartExecution", start_request(execution_name="")),
        Code.INVALID_ARGUMENT,
        "execution_name '' must be 1 to 64",
    ),
    (
        "execution name too long",
        of_executions("StartExecution", start_request(execution_name="n" * 65)),
        Code.INVALID_ARGUMENT,
        "execution_name 'nnnn",
    ),
    (
        "malformed tenant id",
        of_executions("StartExecution", start_request(tenant_id="a b\tc")),
        Code.INVALID_ARGUMENT,
        "tenant_id 'a b\\tc' must be 1 to 256",
    ),
    (
        "empty trace header",
        of_executions("StartExecution", start_request(trace_header="")),
        Code.INVALID_ARGUMENT,
        "trace_header '' must be 1 to 8,192",
    ),
    (
        "oversize completion result",
        of_workers(
            "Complete", worker_pb2.CompleteRequest(status="SUCCEEDED", result="x" * 67_108_865)
        ),
        Code.INVALID_ARGUMENT,
        "result is 67,108,865 bytes; at most 67,108,864 are allowed",
    ),
    (
        "oversize input",
        of_executions("StartExecution", start_request(input="x" * 67_108_865)),
        Code.INVALID_ARGUMENT,
        "input is 67,108,865 bytes; at most 67,108,864 are allowed",
    ),
    (
        "timeout out of range",
        of_executions("StartExecution", start_request(execution_timeout_seconds=31_622_401)),
        Code.INVALID_ARGUMENT,
        "execution_timeout_seconds must be 1 to 31,622,400, got 31,622,401",
    ),
    (
        "retention out of range",
        of_executions("StartExecution", start_request(retention_days=91)),
        Code.INVALID_ARGUMENT,
        "retention_days must be 1 to 90, got 91",
    ),
    (
        "wait out of range",
        of_executions("StartExecution", start_request(wait_ms=900_001)),
        Code.INVALID_ARGUMENT,
        "wait_ms must be 0 to 900,000, got 900,001",
    ),
    (
        "unknown ARN",
        of_executions("GetExecution", E.GetExecutionRequest(execution_arn=ARN)),
        Code.NOT_FOUND,
        "0" * 32,
    ),
    (
        "malformed ARN",
        of_executions("GetExecution", E.GetExecutionRequest(execution_arn="arn:nonsense")),
        Code.INVALID_ARGUMENT,
        "malformed execution ARN 'arn:nonsense'",
    ),
    (
        "malformed marker of a history",
        of_executions(
            "GetExecutionHistory", E.GetExecutionHistoryRequest(execution_arn=ARN, marker="zz")
        ),
        Code.INVALID_ARGUMENT,
        "malformed page marker",
    ),
    (
        "marker of a history past every event",
        of_executions(
            "GetExecutionHistory",
            E.GetExecutionHistoryRequest(
                execution_arn=ARN, marker=pack_marker("events", (2_147_483_648,))
            ),
        ),
        Code.INVALID_ARGUMENT,
        "the event in the marker must be 1 to 2,147,483,647, got 2,147,483,648",
    ),
    (
        "malformed marker of a list",
        of_executions("ListExecutions", E.ListExecutionsRequest(marker="zz")),
        Code.INVALID_ARGUMENT,
        "malformed page marker",
    ),
    (
        "prefix that no name has",
        of_executions("ListExecutions", E.ListExecutionsRequest(execution_name_prefix="a b")),
        Code.INVALID_ARGUMENT,
        "execution_name_prefix 'a b' must be 1 to 64",
    ),
    (
        "marker of another list",
        of_executions(
            "GetExecutionHistory",
            E.GetExecutionHistoryRequest(
                execution_arn=ARN, marker=pack_marker("open callbacks", (1,))
            ),
        ),
        Code.INVALID_ARGUMENT,
        "malformed page marker",
    ),
    (
        "oversize page",
        of_executions("ListExecutions", E.ListExecutionsRequest(max_items=1_001)),
        Code.INVALID_ARGUMENT,
        "max_items must be 1 to 1,000, got 1,001",
    ),
    (
        "unknown status",
        of_executions("ListExecutions", E.ListExecutionsRequest(statuses=["DONE"])),
        Code.INVALID_ARGUMENT,
        "status must be one of RUNNING | ",
    ),
    (
        "too many statuses",
        of_executions("ListExecutions", E.ListExecutionsRequest(statuses=["FAILED"] * 11)),
        Code.INVALID_ARGUMENT,
        "statuses must be at most 10, got 11",
    ),
    (
        "callback id that Perdure never made",
        of_callbacks("SucceedCallback", E.SucceedCallbackRequest(callback_id="nonsense")),
        Code.INVALID_ARGUMENT,
        "Invalid callback id: ",
    ),
    (
        "callback id of another server",
        of_callbacks("HeartbeatCallback", E.HeartbeatCallbackRequest(callback_id=FOREIGN_CALLBACK)),
        Code.INVALID_ARGUMENT,
        "Invalid callback id: its signature does not match",
    ),
    (
        "malformed token",
        of_workers("Checkpoint", worker_pb2.CheckpointRequest(checkpoint_token="zz")),
        Code.INVALID_ARGUMENT,
        "Invalid checkpoint token: ",
    ),
    (
        "oversize batch",
        of_workers(
            "Checkpoint", worker_pb2.CheckpointRequest(updates=[step("s", "START")] * 1_001)
        ),
        Code.INVALID_ARGUMENT,
        "updates must be at most 1,000, got 1,001",
    ),
    (
        "oversize checkpoint",
        of_workers(
            "Checkpoint",
            worker_pb2.CheckpointRequest(
                updates=[step("s", "SUCCEED", payload="x" * 8_389_000)] * 9
            ),
        ),
        Code.INVALID_ARGUMENT,
        "a checkpoint must be at most 75,497,472 bytes, got 75,501,",
    ),
    (
        "unknown action",
        of_workers("Checkpoint", worker_pb2.CheckpointRequest(updates=[step("s", "JUMP")])),
        Code.INVALID_ARGUMENT,
        "unknown operation action 'JUMP'; expected START | ",
    ),
    (
        "unknown completion",
        of_workers("Complete", worker_pb2.CompleteRequest(status="DONE")),
        Code.INVALID_ARGUMENT,
        "unknown completion status 'DONE'; expected SUCCEEDED | ",
    ),
    (
        "too many slots",
        of_workers("Register", registration(slots=10_001)),
        Code.INVALID_ARGUMENT,
        "slots must be 1 to 10,000, got 10,001",
    ),
    (
        "too many functions",
        of_workers(
            "Register",
            registration(functions=[worker_pb2.FunctionDefinition(function_name="f")] * 1_001),
        ),
        Code.INVALID_ARGUMENT,
        "functions must be at most 1,000, got 1,001",
    ),
    (
        "malformed definition",
        of_workers(
            "Register",
            registration(
                functions=[worker_pb2.FunctionDefinition(function_name="f", retention_days=91)]
            ),
        ),
        Code.INVALID_ARGUMENT,
        "retention_days of function 'f' must be 0 to 90, got 91",
    ),
]


@pytest.mark.parametrize(
    ("call", "code", "text"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS]
)
def test_a_bad_request_is_refused_by_name_and_limit(
    call: Callable[[Served], Awaitable[Any]], code: grpc.StatusCode, text: str
) -> None:
    async def main() -> None:
        async with serving() as served:
            failure = await failure_of(call(served))
            assert (failure.code(), text in (failure.details() or "")) == (code, True), failure

    run(main)


def test_texts_that_are_too_long_for_an_execution_are_refused_by_name_and_limit() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            arn = (await served.executions.StartExecution(start_request())).execution_arn
            token = (await peer.invocation()).checkpoint_token
            update = worker_pb2.OperationUpdate(id="c", type="CALLBACK", action="START")
            reply = await peer.checkpoint(token, update)
            callback_id = reply.checkpoint.operations[0].callback_details.callback_id
            reason, result = "x" * 1_025, "x" * 67_108_865
            error = model_pb2.ErrorObject(error_data="x" * 1_048_577)
            large_error = "error is 1,048,577 bytes; at most 1,048,576 are allowed"
            for call, text in (
                (
                    of_executions(
                        "PauseExecution", E.PauseExecutionRequest(execution_arn=arn, reason=reason)
                    ),
                    "1,024",
                ),
                (
                    of_executions(
                        "ResumeExecution",
                        E.ResumeExecutionRequest(execution_arn=arn, reason=reason),
                    ),
                    "1,024",
                ),
                (
                    of_executions(
                        "StopExecution", E.StopExecutionRequest(execution_arn=arn, error=error)
                    ),
                    large_error,
                ),
                (
                    of_callbacks(
                        "FailCallback", E.FailCallbackRequest(callback_id=callback_id, error=error)
                    ),
                    large_error,
                ),
                (
                    of_callbacks(
                        "SucceedCallback",
                        E.SucceedCallbackRequest(callback_id=callback_id, result=result),
                    ),
                    "result is 67,108,865 bytes; at most 67,108,864 are allowed",
                ),
            ):
                failure = await failure_of(call(served))
                assert failure.code() is Code.INVALID_ARGUMENT
                assert text in (failure.details() or "")

    run(main)


def test_a_second_start_with_another_payload_is_refused_by_name() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            first = start_request(execution_name="order-1", input="1")
            await served.executions.StartExecution(first)
            other = start_request(execution_name="order-1", input="2")
            failure = await failure_of(served.executions.StartExecution(other))
            assert failure.code() is Code.ALREADY_EXISTS
            assert "order-1" in (failure.details() or "")

    run(main)


def test_a_callback_is_completed_once_and_a_repeat_succeeds() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            started = await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            update = worker_pb2.OperationUpdate(id="c", type="CALLBACK", action="START")
            reply = await peer.checkpoint(token, update)
            callback_id = reply.checkpoint.operations[0].callback_details.callback_id
            done = client_pb2.SucceedCallbackRequest(callback_id=callback_id, result="1")
            other = client_pb2.SucceedCallbackRequest(callback_id=callback_id, result="2")
            fail = client_pb2.FailCallbackRequest(callback_id=callback_id)
            stop = client_pb2.StopExecutionRequest(execution_arn=started.execution_arn)
            await served.callbacks.SucceedCallback(done)
            for _ in range(2):
                await served.callbacks.SucceedCallback(done)
                for call in (
                    served.callbacks.SucceedCallback(other),
                    served.callbacks.FailCallback(fail),
                ):
                    refused = await failure_of(call)
                    assert refused.code() is Code.FAILED_PRECONDITION
                    assert reason_of(refused) == "callback_completed"
                await served.executions.StopExecution(stop)

    run(main)


def test_an_ended_execution_can_be_neither_paused_nor_can_a_running_one_be_deleted() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            arn = (await served.executions.StartExecution(start_request())).execution_arn
            delete = client_pb2.DeleteExecutionRequest(execution_arn=arn)
            early = await failure_of(served.executions.DeleteExecution(delete))
            assert early.code() is Code.FAILED_PRECONDITION
            stop = client_pb2.StopExecutionRequest(execution_arn=arn)
            await served.executions.StopExecution(stop)
            pause = client_pb2.PauseExecutionRequest(execution_arn=arn)
            late = await failure_of(served.executions.PauseExecution(pause))
            assert late.code() is Code.FAILED_PRECONDITION
            assert (reason_of(early), reason_of(late)) == (
                "execution_not_ended",
                "execution_ended",
            )

    run(main)


def test_a_stale_token_is_told_to_stop() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            token = (await peer.invocation()).checkpoint_token
            await peer.checkpoint(token, step("s", "START"))
            stale = worker_pb2.CheckpointRequest(
                checkpoint_token=token, client_token="other", updates=[step("t", "START")]
            )
            failure = await failure_of(served.workers.Checkpoint(stale))
            assert failure.code() is Code.ABORTED
            assert "its turn 0 has passed" in (failure.details() or "")

    run(main)


def test_callers_need_the_token_except_for_health() -> None:
    async def main() -> None:
        async with serving(tokens=Tokens(["secret"])) as served:
            call = served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            missing = await failure_of(call)
            assert missing.code() is Code.UNAUTHENTICATED
            assert "authorization: Bearer TOKEN" in (missing.details() or "")
            wrong = await failure_of(
                served.executions.ListFunctions(
                    client_pb2.ListFunctionsRequest(),
                    metadata=(("authorization", "Bearer guess"),),
                )
            )
            assert wrong.code() is Code.UNAUTHENTICATED
            await served.executions.ListFunctions(
                client_pb2.ListFunctionsRequest(), metadata=(("authorization", "Bearer secret"),)
            )
            session = Peer(served)
            assert (await session.failure()).code() is Code.UNAUTHENTICATED

    run(main)
