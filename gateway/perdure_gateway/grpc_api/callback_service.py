"""CallbackService: success, failure and heartbeat of callbacks."""

# ruff: noqa: ARG002 - a remote call takes what gRPC hands it

from typing import Any, TypeAlias

import grpc.aio

from perdure_core.model import ErrorObject
from perdure_gateway.admission.memory_budget import MemoryBudget
from perdure_host.codec import error_from_message
from perdure_host.services import ExecutionCommands
from perdure_proto.v1 import client_pb2, client_pb2_grpc

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class CallbackService(client_pb2_grpc.CallbackServiceServicer):
    """Serves clients that hold a callback id."""

    def __init__(self, commands: ExecutionCommands, budget: MemoryBudget) -> None:
        self._commands = commands
        self._budget = budget

    async def SucceedCallback(
        self, request: client_pb2.SucceedCallbackRequest, context: _Context
    ) -> client_pb2.SucceedCallbackResponse:
        self._budget.for_call(context).reserve(request.ByteSize())
        result = request.result if request.HasField("result") else None
        await self._commands.succeed_callback(request.callback_id, result)
        return client_pb2.SucceedCallbackResponse()

    async def FailCallback(
        self, request: client_pb2.FailCallbackRequest, context: _Context
    ) -> client_pb2.FailCallbackResponse:
        error = error_from_message(request.error) if request.HasField("error") else ErrorObject()
        await self._commands.fail_callback(request.callback_id, error)
        return client_pb2.FailCallbackResponse()

    async def HeartbeatCallback(
        self, request: client_pb2.HeartbeatCallbackRequest, context: _Context
    ) -> client_pb2.HeartbeatCallbackResponse:
        await self._commands.heartbeat_callback(request.callback_id)
        return client_pb2.HeartbeatCallbackResponse()
