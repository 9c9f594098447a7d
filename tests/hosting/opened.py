"""The endpoint of a worker with one open invocation, and clients for it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import httpx
from botocore.exceptions import ClientError

from perdure.worker_api import Invocation
from perdure_core.model import (
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
)
from perdure_worker.hosting.api.bridge import CheckpointBridge
from perdure_worker.hosting.api.endpoint import Endpoint
from perdure_worker.hosting.api.forwarding import LambdaProxy
from tests.lambda_api.serving import boto_client
from tests.sdk.scripted import Scripted

ARN: Final = (
    "arn:perdure:lambda:default:000000000000:function:f:$LATEST/durable-execution/name/" + 32 * "0"
)
UPDATE: Final = {"Id": "s1", "Type": "STEP", "Action": "START", "Name": "step"}
SCENARIO_S_MAX: Final = 60
BEGAN_MS: Final = 1_800_000_000_000
INVALID: Final = "InvalidParameterValueException"
BAD_TOKEN: Final = "Invalid checkpoint token"


def invocation(*recorded: Operation, payload: str = '{"a": 1}') -> Invocation:
    execution = Operation(
        id="0" * 32,
        type=OperationType.EXECUTION,
        status=OperationStatus.STARTED,
        started_ms=BEGAN_MS,
        name="name",
        details=ExecutionDetails(payload),
    )
    return Invocation(
        invocation_id="request",
        execution_arn=ARN,
        function_name="f",
        operations=(execution, *recorded),
        updated_operation_ids=("s1",),
    )


def step(number: int, result: str) -> Operation:
    return Operation(
        id=f"s{number}",
        type=OperationType.STEP,
        status=OperationStatus.SUCCEEDED,
        started_ms=BEGAN_MS + 1_500,
        ended_ms=BEGAN_MS + 1_501,
        details=StepDetails(attempt=1, result=result),
    )


class Opened:
    """An endpoint with one open invocation, and clients for it."""

    def __init__(self, endpoint: Endpoint, bridge: CheckpointBridge, port: Scripted) -> None:
        self.endpoint = endpoint
        self.bridge = bridge
        self.port = port
        self.access = endpoint.admit_process()
        self.access.run(bridge.request_id)
        self.client = boto_client(self.access.url)
        self.http = httpx.AsyncClient(base_url=self.access.url, trust_env=False)

    async def call(self, operation: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(getattr(self.client, operation), **arguments)

    async def checkpoint(self, token: str, *updates: Any, **more: Any) -> Any:
        return await self.call(
            "checkpoint_durable_execution",
            DurableExecutionArn=ARN,
            CheckpointToken=token,
            Updates=updates or (UPDATE,),
            **more,
        )

    async def refusal(self, calling: Awaitable[Any]) -> tuple[int, str, str]:
        try:
            answer = await calling
        except ClientError as error:
            response: Any = error.response
            error = response["Error"]
            return response["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error["Message"]
        raise AssertionError(f"the call went well: {answer}")


@asynccontextmanager
async def opened(
    port: Scripted | None = None,
    opening: Invocation | None = None,
    forwarding: LambdaProxy | None = None,
) -> AsyncGenerator[Opened]:
    scripted = port or Scripted()
    endpoint = Endpoint(forwarding)
    await endpoint.start()
    bridge = endpoint.open(opening or invocation(), scripted)
    served = Opened(endpoint, bridge, scripted)
    try:
        yield served
    finally:
        await served.http.aclose()
        await asyncio.to_thread(served.client.close)
        await endpoint.close()


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(SCENARIO_S_MAX):
            await scenario

    asyncio.run(limited())


def checkpoint_path() -> str:
    return f"/2025-12-01/durable-executions/{quote(ARN, safe='')}/checkpoint"
