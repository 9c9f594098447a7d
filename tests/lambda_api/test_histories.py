"""Histories, event by event, as clients of AWS read them."""

from datetime import UTC, datetime
from typing import Any

from perdure_core.limits import PAGE_BYTES_MAX
from perdure_proto.v1 import worker_pb2
from tests.gateway.serving import Peer, SteppedClock, run, step
from tests.lambda_api.calls import events
from tests.lambda_api.serving import LambdaServed, lambda_serving, worker

STEPS = 120


def update(kind: str, operation_id: str, action: str = "START", **more: Any) -> Any:
    return worker_pb2.OperationUpdate(id=operation_id, type=kind, action=action, **more)


async def steps(api: LambdaServed, peer: Peer, count: int, payload: str = "1") -> str:
    arn = await api.started()
    token = (await peer.invocation()).checkpoint_token
    updates = [
        each
        for number in range(count)
        for each in (
            step(f"s{number}", "START"),
            step(f"s{number}", "SUCCEED", payload=payload),
        )
    ]
    for first in range(0, len(updates), 8):
        reply = await peer.checkpoint(token, *updates[first : first + 8])
        token = reply.checkpoint.checkpoint_token
    await peer.complete(token, result="done")
    return arn


async def everything(api: LambdaServed, peer: Peer) -> str:
    """Run an execution with an operation of each kind; return its ARN."""
    arn = await api.started(input='{"q": 1}', execution_timeout_seconds=600)
    token = (await peer.invocation()).checkpoint_token
    error = {"error_message": "boom", "error_type": "ValueError"}
    reply = await peer.checkpoint(
        token,
        update("CONTEXT", "ctx", name="child", sub_type="RunInChildContext"),
        update("STEP", "ok", parent_id="ctx", name="charge", sub_type="Step"),
        update(
            "STEP", "ok", "SUCCEED", parent_id="ctx", name="charge", sub_type="Step", payload="1"
        ),
        update(
            "CONTEXT", "ctx", "SUCCEED", name="child", sub_type="RunInChildContext", payload="2"
        ),
        update("STEP", "bad"),
        update("STEP", "bad", "RETRY", error=error, step_options={"next_attempt_delay_ms": 1_500}),
        update("WAIT", "w", wait_options={"wait_ms": 2_000}),
        update(
            "CALLBACK",
            "cb",
            callback_options={"timeout_seconds": 60, "heartbeat_timeout_seconds": 30},
        ),
        update(
            "CHAINED_INVOKE",
            "inv",
            payload="3",
            chained_invoke_options={"function_name": "missing"},
        ),
    )
    token = reply.checkpoint.checkpoint_token
    reply = await peer.checkpoint(token, update("WAIT", "w", "CANCEL"))
    await peer.complete(reply.checkpoint.checkpoint_token, "FAILED", error=error)
    return arn


def test_every_event_has_the_details_of_its_type() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            peer = await worker(api)
            arn = await everything(api, peer)
            found = await events(api, arn)
            now = datetime.fromtimestamp(clock.now_ms() / 1_000, UTC)
            assert [event.pop("EventTimestamp") for event in found] == [now] * len(found)
            assert [event.pop("EventId") for event in found] == [*range(1, len(found) + 1)]
            execution_id = arn.rpartition("/")[2]
            described = {
                (event["EventType"], event.get("Id")): event[f"{event['EventType']}Details"]
                for event in found
            }
            error = {"ErrorMessage": "boom", "ErrorType": "ValueError"}
            boom = {"Payload": error, "Truncated": False}
            callback_id = described["CallbackStarted", "cb"].pop("CallbackId")
            assert callback_id
            request_id = described["InvocationCompleted", None].pop("RequestId")
            assert request_id
            missing = described.pop(("ChainedInvokeFailed", "inv"))["Error"]["Payload"]
            assert missing["ErrorType"] == "ResourceNotFoundException"
            assert described == {
                ("ExecutionStarted", execution_id): {
                    "Input": {"Payload": '{"q": 1}', "Truncated": False},
                    "ExecutionTimeout": 600,
                },
                ("ContextStarted", "ctx"): {},
                ("StepStarted", "ok"): {},
                ("StepSucceeded", "ok"): {
                    "Result": {"Payload": "1", "Truncated": False},
                    "RetryDetails": {"CurrentAttempt": 1},
                },
                ("ContextSucceeded", "ctx"): {"Result": {"Payload": "2", "Truncated": False}},
                ("StepStarted", "bad"): {},
                ("StepFailed", "bad"): {
                    "Error": boom,
                    "RetryDetails": {"CurrentAttempt": 1, "NextAttemptDelaySeconds": 2},
                },
                ("WaitStarted", "w"): {
                    "Duration": 2,
                    "ScheduledEndTimestamp": datetime.fromtimestamp(
                        (clock.now_ms() + 2_000) / 1_000, UTC
                    ),
                },
                ("CallbackStarted", "cb"): {"Timeout": 60, "HeartbeatTimeout": 30},
                ("ChainedInvokeStarted", "inv"): {
                    "FunctionName": "missing",
                    "Input": {"Payload": "3", "Truncated": False},
                },
                ("WaitCancelled", "w"): {},
                ("InvocationCompleted", None): {"StartTimestamp": now, "EndTimestamp": now},
                ("ExecutionFailed", execution_id): {"Error": boom},
            }

    run(main)


def test_events_of_operations_name_their_subject() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            arn = await everything(api, await worker(api))
            charge = next(each for each in await events(api, arn) if each.get("Id") == "ok")
            assert (charge["Name"], charge["SubType"], charge["ParentId"]) == (
                "charge",
                "Step",
                "ctx",
            )

    run(main)


def test_payloads_are_left_out_and_marked_when_asked() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            arn = await everything(api, await worker(api))
            found = await events(api, arn, IncludeExecutionData=False)
            by_type = {each["EventType"]: each[f"{each['EventType']}Details"] for each in found}
            assert by_type["ExecutionStarted"]["Input"] == {"Truncated": True}
            assert by_type["StepSucceeded"]["Result"] == {"Truncated": True}
            assert by_type["ExecutionFailed"]["Error"] == {"Truncated": True}

    run(main)


def test_pauses_are_shown_with_their_reasons() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            arn = await api.started()
            for action in ("pause", "resume"):
                await api.call(
                    f"{action}_durable_execution", DurableExecutionArn=arn, Reason=action
                )
            paused, resumed = (await events(api, arn))[1:]
            details = paused["ExecutionPausedDetails"]
            assert details == {
                "PauseRequestTimestamp": paused["EventTimestamp"],
                "Reason": {"Payload": "pause", "Truncated": False},
                "ExecutionTimeoutPaused": True,
            }
            assert resumed["ExecutionResumedDetails"] == {
                "ResumeRequestTimestamp": resumed["EventTimestamp"],
                "Reason": {"Payload": "resume", "Truncated": False},
            }

    run(main)


def test_paginators_bring_every_event_once_in_both_directions() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            arn = await steps(api, await worker(api), STEPS)
            ids = [*range(1, 2 * STEPS + 4)]
            for items in (0, 7, 100, 1_000):
                found = await events(api, arn, MaxItems=items)
                assert [each["EventId"] for each in found] == ids
                found = await events(api, arn, MaxItems=items, ReverseOrder=True)
                assert [each["EventId"] for each in found] == ids[::-1]

    run(main)


def test_a_page_of_large_events_ends_early() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            payload = "x" * (PAGE_BYTES_MAX // 4)
            arn = await steps(api, await worker(api), 10, payload)
            pages = await api.pages("get_durable_execution_history", DurableExecutionArn=arn)
            assert [len(page["Events"]) for page in pages] == [9, 8, 6]
            assert [each["EventId"] for page in pages for each in page["Events"]] == [*range(1, 24)]

    run(main)
