"""Checkpoints through boto3, as SDKs that call Lambda themselves make them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from perdure_core.limits import FUNCTION_VERSION_CHARS_MAX
from tests.gateway.serving import SteppedClock, run
from tests.lambda_api.calls import STEP, HeldInvocation
from tests.lambda_api.serving import UNKNOWN_ARN, lambda_serving, worker


def started(operation_id: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"Id": operation_id, "Type": kind, "Action": "START", **more}


def in_step_with_clock(clock: SteppedClock, later_s: int = 0) -> datetime:
    return datetime.fromtimestamp(clock.now_ms() / 1_000 + later_s, UTC)


ERROR = {"ErrorMessage": "boom", "ErrorType": "ValueError", "StackTrace": ["l"]}
MAP = {"Id": "ctx", "Type": "CONTEXT", "SubType": "Map"}
SUCCEEDING: list[dict[str, Any]] = [
    {**MAP, "Action": "START"},
    {**STEP, "Action": "START", "ParentId": "ctx"},
    {**STEP, "Action": "SUCCEED", "ParentId": "ctx", "Payload": "1"},
    {**MAP, "Action": "SUCCEED", "Payload": "", "ContextOptions": {"ReplayChildren": True}},
]
RETRYING: list[dict[str, Any]] = [
    started("again", "STEP"),
    {
        "Id": "again",
        "Type": "STEP",
        "Action": "RETRY",
        "Error": ERROR,
        "StepOptions": {"NextAttemptDelaySeconds": 5},
    },
]
TIMEOUTS = {"TimeoutSeconds": 60, "HeartbeatTimeoutSeconds": 30}
TIMED = [
    started("w", "WAIT", WaitOptions={"WaitSeconds": 5}),
    started("cb", "CALLBACK", CallbackOptions=TIMEOUTS),
]
LONGEST_VERSION = "v" * FUNCTION_VERSION_CHARS_MAX


async def answered_and_read_back(
    clock: SteppedClock, updates: list[dict[str, Any]]
) -> list[dict[str, dict[str, Any]]]:
    """Return the operations by id, as the checkpoint answers them and as the state has them."""
    async with lambda_serving(clock=clock) as api:
        held = await HeldInvocation.begin(api, await worker(api))
        both = [await held.checkpoint(*updates), await held.state()]
        return [{each["Id"]: each for each in operations} for operations in both]


def test_contexts_and_steps_are_checkpointed_and_read_back() -> None:
    async def main() -> None:
        clock = SteppedClock()
        now = in_step_with_clock(clock)
        times = {"StartTimestamp": now, "EndTimestamp": now}
        for found in await answered_and_read_back(clock, SUCCEEDING):
            assert found["ctx"]["ContextDetails"] == {"ReplayChildren": True, "Result": ""}
            details = {"Attempt": 1, "Result": "1"}
            ended = {"Status": "SUCCEEDED", **times, "StepDetails": details}
            assert found["s"] == {**STEP, "ParentId": "ctx", **ended}

    run(main)


def test_what_is_due_later_says_when() -> None:
    async def main() -> None:
        clock = SteppedClock()
        due = in_step_with_clock(clock, later_s=5)
        callback_ids = set[str]()
        for found in await answered_and_read_back(clock, [*RETRYING, *TIMED]):
            again = {"Attempt": 1, "NextAttemptTimestamp": due, "Error": ERROR}
            assert found["again"]["StepDetails"] == again
            assert found["w"]["WaitDetails"] == {"ScheduledEndTimestamp": due}
            callback_ids.add(found["cb"]["CallbackDetails"]["CallbackId"])
        assert len(callback_ids) == 1

    run(main)


@pytest.mark.parametrize(
    "target",
    ["missing:$LATEST", "f:7", "f:live", "f:$LATEST.PUBLISHED", f"f:{LONGEST_VERSION}"],
)
def test_a_chained_invoke_of_nothing_has_failed_in_the_answer_already(target: str) -> None:
    async def main() -> None:
        options = {"FunctionName": target}
        chained = [started("inv", "CHAINED_INVOKE", Payload="{}", ChainedInvokeOptions=options)]
        for found in await answered_and_read_back(SteppedClock(), chained):
            assert found["inv"]["Status"] == "FAILED"
            failed = found["inv"]["ChainedInvokeDetails"]["Error"]
            assert failed["ErrorType"] == "ResourceNotFoundException"
            name = target.removesuffix(":$LATEST")
            assert failed["ErrorMessage"] == f"Function not found: {name}"

    run(main)


def test_an_outcome_by_checkpoint_ends_the_execution() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            held = await HeldInvocation.begin(api, peer)
            execution_id = held.arn.rpartition("/")[2]
            await held.checkpoint(
                {"Id": execution_id, "Type": "EXECUTION", "Action": "SUCCEED", "Payload": "7"}
            )
            await peer.complete(held.token)
            execution = await api.call("get_durable_execution", DurableExecutionArn=held.arn)
            assert (execution["Status"], execution["Result"]) == ("SUCCEEDED", "7")

    run(main)


def test_a_token_is_good_for_one_call_and_its_repeat() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            held = await HeldInvocation.begin(api, await worker(api))
            first = held.token
            await held.checkpoint({**STEP, "Action": "START"}, ClientToken="once")
            second = held.token
            held.token = first
            await held.checkpoint({**STEP, "Action": "START"}, ClientToken="once")
            assert held.token == second
            held.token = first
            refused = await held.failure({**STEP, "Action": "START"})
            assert refused[:2] == (400, "InvalidParameterValueException")
            assert refused[2].startswith("Invalid checkpoint token")

    run(main)


def test_a_repeat_without_a_client_token_is_known_by_its_content() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            held = await HeldInvocation.begin(api, await worker(api))
            path = f"/2025-12-01/durable-executions/{held.arn}/checkpoint"
            update = {**STEP, "Action": "START"}
            body = {"CheckpointToken": held.token, "Updates": [update]}
            answers = [await api.http.post(path, json=body) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].json() == answers[1].json()
            other = {"CheckpointToken": held.token, "Updates": [{**update, "Id": "t"}]}
            assert (await api.http.post(path, json=other)).status_code == 400

    run(main)


def test_a_paused_execution_gives_no_further_token() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            held = await HeldInvocation.begin(api, await worker(api))
            await held.checkpoint({**STEP, "Action": "START"})
            await api.call("pause_durable_execution", DurableExecutionArn=held.arn)
            answer = await api.call(
                "checkpoint_durable_execution",
                DurableExecutionArn=held.arn,
                CheckpointToken=held.token,
                Updates=[{**STEP, "Action": "SUCCEED", "Payload": "1"}],
            )
            assert "CheckpointToken" not in answer

    run(main)


def test_state_is_paged_in_order_of_start() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            held = await HeldInvocation.begin(api, await worker(api), input="1")
            ids = [f"s{number}" for number in range(9)]
            await held.checkpoint(*({**STEP, "Id": each, "Action": "START"} for each in ids))
            for items in (1, 4, 100):
                operations = await held.state(MaxItems=items)
                assert [each["Id"] for each in operations[1:]] == ids
                assert operations[0]["ExecutionDetails"] == {"InputPayload": "1"}

    run(main)


def test_a_token_of_another_execution_is_refused() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            held = await HeldInvocation.begin(api, await worker(api))
            held.arn = UNKNOWN_ARN
            for refused in (
                await held.failure({**STEP, "Action": "START"}),
                await api.failure(
                    "get_durable_execution_state",
                    DurableExecutionArn=held.arn,
                    CheckpointToken=held.token,
                ),
            ):
                assert refused[:2] == (400, "InvalidParameterValueException")
                assert "belongs to another execution" in refused[2]

    run(main)


@pytest.mark.parametrize(
    "update",
    [
        {**STEP, "Action": "CANCEL"},
        {**STEP, "Action": "EXPLODE"},
        {**STEP, "Action": "HEARTBEAT"},
        {**STEP, "Type": "THREAD", "Action": "START"},
        {**STEP, "Action": "RETRY"},
        {**STEP, "Id": "a b", "Action": "START"},
        {**STEP, "Action": "START", "ParentId": "nobody"},
        {**STEP, "Action": "SUCCEED", "Error": {"ErrorMessage": "m"}},
        {"Id": "w", "Type": "WAIT", "Action": "START", "WaitOptions": {"WaitSeconds": 99999999}},
        {
            "Id": "i",
            "Type": "CHAINED_INVOKE",
            "Action": "START",
            "ChainedInvokeOptions": {"FunctionName": "f:7:8"},
        },
    ],
)
def test_an_update_that_is_not_allowed_changes_nothing(update: dict[str, Any]) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            held = await HeldInvocation.begin(api, await worker(api))
            good = {"Id": "good", "Type": "STEP", "Action": "START"}
            refused = await held.failure(good, update)
            assert refused[:2] == (400, "InvalidParameterValueException")
            assert [each["Type"] for each in await held.state()] == ["EXECUTION"]
            assert [each["Id"] for each in await held.checkpoint(good)] == ["good"]

    run(main)


def test_a_chained_invoke_takes_its_trace_header_along() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            peer = await worker(api)
            held = await HeldInvocation.begin(api, peer)
            options = {"FunctionName": "f", "XAmznTraceId": "Root=1"}
            await held.checkpoint(
                {
                    "Id": "inv",
                    "Type": "CHAINED_INVOKE",
                    "Action": "START",
                    "ChainedInvokeOptions": options,
                }
            )
            assert (await peer.invocation()).trace_header == "Root=1"

    run(main)
