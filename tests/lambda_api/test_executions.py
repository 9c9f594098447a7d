"""Executions and lists of them, as clients of AWS see them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure_host.tokens import pack_marker
from tests.gateway.serving import SteppedClock, run
from tests.lambda_api.serving import UNKNOWN_ARN, LambdaServed, lambda_serving, worker

EXECUTIONS = 7


def moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1_000, UTC)


async def get(api: LambdaServed, arn: str, **more: Any) -> dict[str, Any]:
    answer = await api.call("get_durable_execution", DurableExecutionArn=arn, **more)
    del answer["ResponseMetadata"]
    return answer


async def several(api: LambdaServed, clock: SteppedClock) -> list[str]:
    """Return the ARNs of executions that were started a second apart; the first has ended."""
    peer = await worker(api, slots=1)
    arns: list[str] = []
    for number in range(EXECUTIONS):
        arns.append(await api.started(execution_name=f"e{number}"))
        clock.advance(1_000)
    await peer.complete((await peer.invocation()).checkpoint_token, result="1")
    return arns


async def listed(api: LambdaServed, **more: Any) -> list[str]:
    pages = await api.pages("list_durable_executions_by_function", **{"FunctionName": "f", **more})
    return [row["DurableExecutionArn"] for page in pages for row in page["DurableExecutions"]]


def test_a_running_execution_is_shown_whole() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            await worker(api, slots=0)
            more = {"execution_timeout_seconds": 60, "retention_days": 3}
            arn = await api.started(execution_name="order-1", input='{"a": 1}', **more)
            assert await get(api, arn) == {
                "DurableExecutionArn": arn,
                "DurableExecutionName": "order-1",
                "FunctionArn": "arn:perdure:lambda:default:000000000000:function:f:$LATEST",
                "Version": "$LATEST",
                "Status": "RUNNING",
                "StartTimestamp": moment(clock.now_ms()),
                "InputPayload": '{"a": 1}',
                "ExecutionDataIncluded": True,
                "DurableConfig": {"RetentionPeriodInDays": 3, "ExecutionTimeout": 60},
                "ExpectedExecutionTimeoutTimestamp": moment(clock.now_ms() + 60_000),
            }

    run(main)


def test_an_ended_execution_has_its_end_and_its_result() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            arns = await several(api, clock)
            execution = await get(api, arns[0])
            assert (execution["Status"], execution["Result"]) == ("SUCCEEDED", "1")
            assert execution["EndTimestamp"] == moment(clock.now_ms())
            assert "ExpectedExecutionTimeoutTimestamp" not in execution
            await api.call("delete_durable_execution", DurableExecutionArn=arns[0])
            assert (await get(api, arns[0]))["Status"] == "DELETING"

    run(main)


def test_payloads_and_errors_are_left_out_when_asked() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            arn = await api.started(input="1")
            error = {"ErrorMessage": "m", "ErrorType": "t", "ErrorData": "d", "StackTrace": ["s"]}
            await api.call("stop_durable_execution", DurableExecutionArn=arn, Error=error)
            whole = await get(api, arn)
            assert (whole["InputPayload"], whole["Error"]) == ("1", error)
            bare = await get(api, arn, IncludeExecutionData=False)
            assert not bare["ExecutionDataIncluded"]
            assert not {"InputPayload", "Result", "Error"} & set(bare)

    run(main)


def test_a_pause_is_shown_with_its_details() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            await worker(api, slots=0)
            arn = await api.started()
            await api.call("pause_durable_execution", DurableExecutionArn=arn, Reason="lunch")
            execution = await get(api, arn)
            assert execution["Status"] == "PAUSED"
            assert execution["PauseDetails"] == {
                "PauseRequestTimestamp": moment(clock.now_ms()),
                "Reason": "lunch",
                "ExecutionTimeoutPaused": True,
            }

    run(main)


@pytest.mark.parametrize("operation", ["get_durable_execution", "get_durable_execution_history"])
def test_what_does_not_exist_is_not_found(operation: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            unknown = await api.failure(operation, DurableExecutionArn=UNKNOWN_ARN)
            assert unknown[:2] == (404, "ResourceNotFoundException")

    run(main)


def test_lists_are_newest_first_and_paged_without_loss() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            arns = await several(api, clock)
            for items in (1, 2, EXECUTIONS, 1_000, 0):
                assert await listed(api, MaxItems=items) == arns[::-1]
                assert await listed(api, MaxItems=items, ReverseOrder=True) == arns

    run(main)


def test_lists_are_narrowed_by_name_status_and_start() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            began = moment(clock.now_ms())
            arns = await several(api, clock)
            assert await listed(api, DurableExecutionName="e3") == [arns[3]]
            assert await listed(api, Statuses=["SUCCEEDED"]) == [arns[0]]
            assert await listed(api, Statuses=["SUCCEEDED", "RUNNING"]) == arns[::-1]
            assert await listed(api, Statuses=["PAUSED", "STOPPED"]) == []
            later = began + timedelta(seconds=4.5)
            assert await listed(api, StartedAfter=later) == [arns[6], arns[5]]
            assert await listed(api, StartedBefore=began + timedelta(seconds=1)) == [arns[0]]

    run(main)


def test_a_row_of_a_list_names_what_it_stands_for() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            arns = await several(api, clock)
            (page,) = await api.pages(
                "list_durable_executions_by_function",
                FunctionName="f",
                DurableExecutionName="e0",
                Qualifier="$LATEST",
            )
            assert page["DurableExecutions"] == [
                {
                    "DurableExecutionArn": arns[0],
                    "DurableExecutionName": "e0",
                    "FunctionArn": "arn:perdure:lambda:default:000000000000:function:f:$LATEST",
                    "Status": "SUCCEEDED",
                    "StartTimestamp": moment(clock.now_ms() - EXECUTIONS * 1_000),
                    "EndTimestamp": moment(clock.now_ms()),
                }
            ]

    run(main)


@pytest.mark.parametrize(
    "name",
    [
        "f",
        "f:$LATEST",
        "function:f",
        "123456789012:function:f",
        "arn:aws:lambda:eu-west-1:123456789012:function:f",
        "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f:$LATEST",
        "arn:perdure:lambda:default:000000000000:function:f:$LATEST",
    ],
)
def test_functions_are_named_in_every_accepted_form(name: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            arn = await api.started()
            assert await listed(api, FunctionName=name) == [arn]

    run(main)


def test_functions_that_there_are_not_and_names_that_are_none_are_told_apart() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            operation = "list_durable_executions_by_function"
            for name in ("g", "f:7", "arn:perdure:lambda:other:000000000000:function:f"):
                unknown = await api.failure(operation, FunctionName=name)
                assert unknown[:2] == (404, "ResourceNotFoundException")
            for name in ("f f", "x" * 65, "arn:aws:s3:::bucket", "f:$OLDEST"):
                malformed = await api.failure(operation, FunctionName=name)
                assert malformed[:2] == (400, "InvalidParameterValueException")
            split = await api.failure(operation, FunctionName="f:$LATEST", Qualifier="7")
            assert split[:2] == (400, "InvalidParameterValueException")
            alias = await api.failure(operation, FunctionName="f", Qualifier="prod")
            assert alias[:2] == (404, "ResourceNotFoundException")

    run(main)


@pytest.mark.parametrize(
    "query",
    [
        "MaxItems=x",
        "MaxItems=1001",
        "MaxItems=-1",
        "MaxItems=99999999999999999999",
        "Marker=x",
        "Marker=ZXZlbnRz",
        "ReverseOrder=perhaps",
        "Statuses=LOST",
        "DurableExecutionName=a%20b",
        "StartedAfter=yesterday",
        "StartedBefore=2026-13-01T00:00:00Z",
        "&".join(["Statuses=RUNNING"] * 11),
    ],
)
def test_malformed_parameters_are_refused(query: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            answer = await api.http.get(f"/2025-12-01/functions/f/durable-executions?{query}")
            assert answer.status_code == 400
            assert answer.headers["x-amzn-errortype"] == "InvalidParameterValueException"

    run(main)


def test_a_marker_of_another_listing_or_a_forged_one_is_refused() -> None:
    async def main() -> None:
        clock = SteppedClock()
        async with lambda_serving(clock=clock) as api:
            arns = await several(api, clock)
            page = await api.call(
                "get_durable_execution_history", DurableExecutionArn=arns[0], MaxItems=1
            )
            marker = page["NextMarker"]
            operation = "list_durable_executions_by_function"
            refused = await api.failure(operation, FunctionName="f", Marker=marker)
            assert refused[:2] == (400, "InvalidParameterValueException")
            for values in ((2**63 - 1,), (-5,), ("x",)):
                with_values = pack_marker("lambda events", values)
                refused = await api.failure(
                    "get_durable_execution_history", DurableExecutionArn=arns[0], Marker=with_values
                )
                assert refused[:2] == (400, "InvalidParameterValueException")

    run(main)
