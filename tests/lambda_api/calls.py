"""Calls of AWS clients that several tests share, with the parts of the answers they need."""

import asyncio
from typing import Any

from perdure_proto.v1 import worker_pb2
from tests.gateway.serving import Peer
from tests.lambda_api.serving import LambdaServed

STEP = {"Id": "s", "Type": "STEP", "SubType": "Step", "Name": "charge"}


async def invoke(api: LambdaServed, **more: Any) -> dict[str, Any]:
    """Invoke a function, and read the payload of the answer."""
    answer = await api.call("invoke", **{"FunctionName": "f", **more})
    answer["Payload"] = await asyncio.to_thread(answer["Payload"].read)
    return answer


async def events(api: LambdaServed, arn: str, **more: Any) -> list[dict[str, Any]]:
    pages = await api.pages("get_durable_execution_history", DurableExecutionArn=arn, **more)
    return [event for page in pages for event in page["Events"]]


async def open_callback(api: LambdaServed, peer: Peer) -> tuple[str, str]:
    """Return the ARN and the callback id of an execution that waits."""
    arn = await api.started()
    token = (await peer.invocation()).checkpoint_token
    update = worker_pb2.OperationUpdate(id="c", type="CALLBACK", action="START")
    reply = await peer.checkpoint(token, update)
    await peer.complete(reply.checkpoint.checkpoint_token, "PENDING")
    return arn, reply.checkpoint.operations[0].callback_details.callback_id


class HeldInvocation:
    """An invocation with its checkpoint token, held by boto3."""

    def __init__(self, api: LambdaServed, arn: str, token: str) -> None:
        self.api = api
        self.arn = arn
        self.token = token

    @classmethod
    async def begin(cls, api: LambdaServed, peer: Peer, **more: Any) -> "HeldInvocation":
        await api.started(**more)
        return await cls.resume(api, peer)

    @classmethod
    async def resume(cls, api: LambdaServed, peer: Peer) -> "HeldInvocation":
        invocation = await peer.invocation()
        return cls(api, invocation.execution_arn, invocation.checkpoint_token)

    async def checkpoint(self, *updates: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        answer = await self.api.call(
            "checkpoint_durable_execution",
            DurableExecutionArn=self.arn,
            CheckpointToken=self.token,
            Updates=updates,
            **more,
        )
        # Without a next token, this one still ends the invocation.
        self.token = answer.get("CheckpointToken", self.token)
        operations: list[dict[str, Any]] = answer["NewExecutionState"]["Operations"]
        return operations

    async def failure(self, *updates: dict[str, Any]) -> tuple[int, str, str]:
        return await self.api.failure(
            "checkpoint_durable_execution",
            DurableExecutionArn=self.arn,
            CheckpointToken=self.token,
            Updates=updates,
        )

    async def state(self, **more: Any) -> list[dict[str, Any]]:
        pages = await self.api.pages(
            "get_durable_execution_state",
            DurableExecutionArn=self.arn,
            CheckpointToken=self.token,
            **more,
        )
        return [operation for page in pages for operation in page["Operations"]]
