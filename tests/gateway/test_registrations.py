"""Functions before their workers: registered beforehand, or started unknown."""

from typing import Any

import grpc
import pytest

from perdure_host.channel import reason_of
from perdure_proto.v1 import client_pb2, worker_pb2
from tests.gateway.serving import Peer, failure_of, run, serving, start_request


def test_a_start_of_an_unknown_function_is_the_callers_choice() -> None:
    async def main() -> None:
        async with serving() as served:
            refused = await failure_of(served.executions.StartExecution(start_request()))
            assert refused.code() is grpc.StatusCode.NOT_FOUND
            assert reason_of(refused) == "function_not_found"
            assert "perdure functions register" in (refused.details() or "")
            for tenant in ("acme", None):
                request = start_request(accept_unknown=True, tenant_id=tenant)
                assert (await served.executions.StartExecution(request)).started
            again = start_request(accept_unknown=True, execution_name="o-1")
            assert (await served.executions.StartExecution(again)).started
            assert not (await served.executions.StartExecution(again)).started
            other = start_request(accept_unknown=True, execution_name="o-1", input="2")
            taken = await failure_of(served.executions.StartExecution(other))
            assert taken.code() is grpc.StatusCode.ALREADY_EXISTS
            peer = await Peer.connect(served, credit=3)
            tenants = {(await peer.invocation()).tenant_id for _ in range(3)}
            assert tenants == {"acme", ""}

    run(main)


def test_a_function_is_registered_beforehand_with_its_settings() -> None:
    async def main() -> None:
        async with serving() as served:
            definition = worker_pb2.FunctionDefinition(
                function_name="f", execution_timeout_seconds=60, retention_days=3, durable=True
            )
            request = client_pb2.RegisterFunctionsRequest(functions=[definition, definition])
            await served.executions.RegisterFunctions(request)
            answer = await served.executions.StartExecution(start_request())
            assert answer.execution.execution_timeout_seconds == 60
            assert answer.execution.retention_days == 3
            listed = await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            assert [(each.function_name, each.workers_connected) for each in listed.functions] == [
                ("f", 0)
            ]
            peer = await Peer.connect(served, credit=1)
            assert (await peer.invocation()).execution_arn == answer.execution_arn

    run(main)


@pytest.mark.parametrize(
    "wrong", [{"function_name": "no body"}, {"function_name": "f", "retention_days": 91}]
)
def test_a_malformed_function_is_refused(wrong: dict[str, Any]) -> None:
    async def main() -> None:
        async with serving() as served:
            request = client_pb2.RegisterFunctionsRequest(
                functions=[worker_pb2.FunctionDefinition(**wrong)]
            )
            refused = await failure_of(served.executions.RegisterFunctions(request))
            assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(main)
