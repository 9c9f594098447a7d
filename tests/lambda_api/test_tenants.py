"""Tenants: with isolation, each execution belongs to the tenant that its start names."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from perdure_proto.v1 import client_pb2, worker_pb2
from tests.gateway.serving import Peer, failure_of, registration, run
from tests.lambda_api.serving import LambdaServed, lambda_serving

INVALID = (400, "InvalidParameterValueException")
EVENT = {"InvocationType": "Event"}


@asynccontextmanager
async def serving_both(slots: int = 4) -> AsyncGenerator[tuple[LambdaServed, Peer]]:
    """Serve `apart`, which isolates tenants, and `f`, which does not."""
    functions = [
        worker_pb2.FunctionDefinition(function_name="f", durable=True),
        worker_pb2.FunctionDefinition(function_name="apart", durable=True, tenant_isolation=True),
    ]
    async with lambda_serving() as api:
        request = registration(functions=functions)
        yield api, await Peer.connect(api.served, request, credit=slots)


def test_the_worker_receives_the_tenant_of_the_invocation() -> None:
    async def main() -> None:
        async with serving_both() as (api, peer):
            await api.call("invoke", FunctionName="apart", TenantId="acme: eu@1", **EVENT)
            assert (await peer.invocation()).tenant_id == "acme: eu@1"
            await api.call("invoke", FunctionName="f", **EVENT)
            assert not (await peer.invocation()).HasField("tenant_id")

    run(main)


def test_a_tenant_is_named_exactly_where_tenants_are_kept_apart() -> None:
    async def main() -> None:
        async with serving_both(slots=0) as (api, _):
            refused = await api.failure("invoke", FunctionName="apart", **EVENT)
            assert refused[:2] == INVALID
            assert "is enabled with tenancy configuration. Add a valid tenant ID" in refused[2]
            refused = await api.failure("invoke", FunctionName="f", TenantId="acme", **EVENT)
            assert refused[:2] == INVALID
            assert "is not enabled with tenancy configuration. Remove the tenant" in refused[2]
            for function in ("apart", "f"):
                page = await api.call("list_durable_executions_by_function", FunctionName=function)
                assert page["DurableExecutions"] == []

    run(main)


@pytest.mark.parametrize("tenant", ["a;b", "x" * 257, "\xe4"])
def test_what_can_be_no_tenant_is_refused(tenant: str) -> None:
    async def main() -> None:
        async with serving_both(slots=0) as (api, _):
            headers = {b"x-amz-tenant-id": tenant.encode("latin-1")}
            answer = await api.http.post("/2015-03-31/functions/apart/invocations", headers=headers)
            assert (answer.status_code, answer.headers["x-amzn-errortype"]) == INVALID

    run(main)


def test_a_name_never_leads_to_the_execution_of_another_tenant() -> None:
    async def main() -> None:
        async with serving_both(slots=0) as (api, _):
            named = {"FunctionName": "apart", "DurableExecutionName": "order-1", **EVENT}
            first = await api.call("invoke", **named, TenantId="acme")
            again = await api.call("invoke", **named, TenantId="acme")
            assert again["DurableExecutionArn"] == first["DurableExecutionArn"]
            refused = await api.failure("invoke", **named, TenantId="zenith")
            assert refused[:2] == (409, "DurableExecutionAlreadyStartedException")

    run(main)


async def chained(
    api: LambdaServed, peer: Peer, function: str, tenant: str | None
) -> tuple[str, str]:
    """Invoke another function from an execution; return its ARN, and its token."""
    arn = await api.started()
    invocation = await peer.invocation()
    assert invocation.execution_arn == arn
    options: dict[str, Any] = {"FunctionName": function}
    if tenant is not None:
        options["TenantId"] = tenant
    update = {"Id": "i", "Type": "CHAINED_INVOKE", "Action": "START"}
    answer = await api.call(
        "checkpoint_durable_execution",
        DurableExecutionArn=arn,
        CheckpointToken=invocation.checkpoint_token,
        Updates=[{**update, "ChainedInvokeOptions": options}],
    )
    return arn, answer["CheckpointToken"]


def test_a_child_belongs_to_the_tenant_that_its_parent_names() -> None:
    async def main() -> None:
        async with serving_both() as (api, peer):
            arn, _ = await chained(api, peer, "apart", "acme")
            child = await peer.invocation()
            assert (child.function_name, child.tenant_id) == ("apart", "acme")
            page = await api.call("get_durable_execution_history", DurableExecutionArn=arn)
            (details,) = [
                event["ChainedInvokeStartedDetails"]
                for event in page["Events"]
                if event["EventType"] == "ChainedInvokeStarted"
            ]
            assert (details["TenantId"], details["FunctionName"]) == ("acme", "apart")

    run(main)


@pytest.mark.parametrize(("function", "tenant"), [("apart", None), ("f", "acme")])
def test_a_child_without_its_tenant_or_with_one_too_many_fails(
    function: str, tenant: str | None
) -> None:
    async def main() -> None:
        async with serving_both() as (api, peer):
            _, token = await chained(api, peer, function, tenant)
            await peer.complete(token, "PENDING")
            again = await peer.invocation()
            (operation,) = [each for each in again.operations if each.id == "i"]
            error = operation.chained_invoke_details.error
            assert (operation.status, error.error_type) == ("FAILED", INVALID[1])
            assert "tenancy configuration" in error.error_message

    run(main)


def test_the_configuration_says_that_tenants_are_kept_apart() -> None:
    async def main() -> None:
        async with serving_both(slots=0) as (api, _):
            apart = await api.call("get_function_configuration", FunctionName="apart")
            assert apart["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}
            other = await api.call("get_function_configuration", FunctionName="f")
            assert "TenancyConfig" not in other

    run(main)


def test_clients_over_grpc_name_tenants_too() -> None:
    async def main() -> None:
        async with serving_both() as (api, peer):
            start = api.served.executions.StartExecution
            named = client_pb2.StartExecutionRequest(function_name="apart", tenant_id="acme")
            await start(named)
            assert (await peer.invocation()).tenant_id == "acme"
            for tenant_id in (None, "a;b"):
                wrong = client_pb2.StartExecutionRequest(function_name="apart", tenant_id=tenant_id)
                failure = await failure_of(start(wrong))
                assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(main)
