"""Registered functions, as clients of AWS look them up."""

import asyncio

import pytest

from perdure_gateway.lambda_api.functions import ITEMS_MAX
from perdure_proto.v1 import worker_pb2
from tests.gateway.serving import Peer, registration, run
from tests.lambda_api.serving import LambdaServed, lambda_serving, worker

ARN = "arn:perdure:lambda:default:000000000000:function:order"


async def announce(api: LambdaServed, *functions: worker_pb2.FunctionDefinition) -> None:
    await Peer.connect(api.served, registration(functions=functions))


def test_a_function_is_described_by_what_its_worker_registered() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await announce(
                api,
                worker_pb2.FunctionDefinition(
                    function_name="order",
                    durable=True,
                    execution_timeout_seconds=300,
                    retention_days=7,
                ),
            )
            expected = {
                "FunctionName": "order",
                "FunctionArn": ARN,
                "Version": "$LATEST",
                "State": "Active",
                "LastUpdateStatus": "Successful",
                "DurableConfig": {"RetentionPeriodInDays": 7, "ExecutionTimeout": 300},
            }
            found = await api.call("get_function_configuration", FunctionName="order")
            del found["ResponseMetadata"]
            assert found == expected
            assert (await api.call("get_function", FunctionName=ARN))["Configuration"] == expected
            for named in (
                {"FunctionName": f"{ARN}:$LATEST"},
                {"FunctionName": "order", "Qualifier": "$LATEST"},
            ):
                found = await api.call("get_function_configuration", **named)
                assert found["FunctionArn"] == f"{ARN}:$LATEST"

    run(main)


def test_a_plain_function_has_no_durable_configuration() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await announce(api, worker_pb2.FunctionDefinition(function_name="plain"))
            found = await api.call("get_function_configuration", FunctionName="plain")
            assert "DurableConfig" not in found

    run(main)


def test_waiters_of_boto3_find_functions_ready() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            for name in ("function_exists", "function_active_v2", "function_updated_v2"):
                wait = api.client.get_waiter(name).wait
                await asyncio.to_thread(wait, FunctionName="f")

    run(main)


def test_unknown_functions_are_not_found() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            for operation in ("get_function", "get_function_configuration"):
                unknown = await api.failure(operation, FunctionName="nobody")
                assert unknown[:2] == (404, "ResourceNotFoundException")
                assert "Function not found: arn:perdure:lambda:default:" in unknown[2]

    run(main)


def test_lists_of_functions_are_paged_by_name() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            assert [page["Functions"] for page in await api.pages("list_functions")] == [[]]
            names = [f"f{number:03}" for number in range(2 * ITEMS_MAX + 3)]
            await announce(
                api,
                *(worker_pb2.FunctionDefinition(function_name=name) for name in reversed(names)),
            )
            for items in (7, ITEMS_MAX, 10_000):
                pages = await api.pages("list_functions", PaginationConfig={"PageSize": items})
                found = [each["FunctionName"] for page in pages for each in page["Functions"]]
                assert found == names
            old = await api.http.get("/2015-03-31/functions/?MaxItems=1")
            assert [each["FunctionName"] for each in old.json()["Functions"]] == names[:1]

    run(main)


def test_a_list_of_all_versions_names_the_one_that_there_is() -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            (plain,) = (await api.call("list_functions"))["Functions"]
            (listed,) = (await api.call("list_functions", FunctionVersion="ALL"))["Functions"]
            arn = ARN.replace(":order", ":f")
            assert (plain["FunctionArn"], listed["FunctionArn"]) == (arn, f"{arn}:$LATEST")
            refused = await api.http.get("/2015-03-31/functions?FunctionVersion=1")
            assert refused.status_code == 400
            assert "FunctionVersion must be ALL, got '1'" in refused.text

    run(main)


@pytest.mark.parametrize("qualifier", ["a b", "a.b", "x" * 129, "ü", "$LATEST.OTHER"])
def test_a_qualifier_that_is_none_is_told_apart_from_one_that_is_missing(qualifier: str) -> None:
    async def main() -> None:
        async with lambda_serving() as api:
            await worker(api, slots=0)
            path = "/2015-03-31/functions/f"
            malformed = await api.http.get(path, params={"Qualifier": qualifier})
            assert malformed.status_code == 400
            assert malformed.headers["x-amzn-errortype"] == "InvalidParameterValueException"
            for missing in ("live", "1", "x" * 128, "$LATEST.PUBLISHED"):
                answer = await api.http.get(path, params={"Qualifier": missing})
                assert answer.status_code == 404

    run(main)
