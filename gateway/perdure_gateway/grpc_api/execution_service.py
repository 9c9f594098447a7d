"""ExecutionService: start, read and control executions, and list functions."""

# ruff: noqa: ARG002 - a remote call takes what gRPC hands it

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final, TypeAlias

import grpc.aio

from perdure_core import limits
from perdure_core.large_payloads import error_from
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.payload import StoredPayload
from perdure_core.refusals import Quarantined
from perdure_core.start_validation import StartFields
from perdure_core.state import State
from perdure_gateway.admission import validation
from perdure_gateway.admission.memory_budget import MemoryBudget, Reservation
from perdure_gateway.admission.overload import Overload
from perdure_gateway.admission.readiness import Readiness
from perdure_gateway.errors import HeartbeatTimeout
from perdure_gateway.grpc_api.pages import execution_page, history_page, open_callback_page
from perdure_gateway.grpc_api.quarantine_pages import quarantined_page, stored_row_page
from perdure_gateway.views.event_messages import event_to_message
from perdure_gateway.views.messages import (
    execution_to_message,
    function_to_message,
    quarantined_to_message,
    state_key,
)
from perdure_gateway.views.payloads import inline_payloads, load_payloads
from perdure_gateway.workers.requests import check_functions, function_rows
from perdure_host.codec import error_from_message, error_to_message, timestamp_from_ms
from perdure_host.services import (
    History,
    Matching,
    NumberedEvent,
    StartRequest,
    key_of,
)
from perdure_proto.v1 import client_pb2, client_pb2_grpc, model_pb2

# How long a follower may take to read an event.
WRITE_S_MAX: Final = 60.0

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_START_FIELDS: Final = StartFields(
    function="function_name",
    name="execution_name",
    timeout_s="execution_timeout_seconds",
    retention_days="retention_days",
    tenant_id="tenant_id",
    trace_header="trace_header",
)


class ExecutionService(client_pb2_grpc.ExecutionServiceServicer):
    """Serves the calls of clients over the ports of history."""

    def __init__(
        self,
        history: History,
        matching: Matching,
        readiness: Readiness,
        budget: MemoryBudget,
        overload: Overload,
    ) -> None:
        self._commands = history.commands
        self._queries = history.queries
        self._overload = overload
        self._matching = matching
        self._readiness = readiness
        self._budget = budget

    async def StartExecution(
        self, request: client_pb2.StartExecutionRequest, context: _Context
    ) -> client_pb2.StartExecutionResponse:
        reservation = self._budget.for_call(context)
        reservation.reserve(request.ByteSize())
        validation.check_range("wait_ms", request.wait_ms, 0, limits.EXECUTION_WAIT_MS_MAX)
        start = _start_request(request)
        waits = request.wait_ms > 0
        self._overload.admit_start(start.namespace, start.function, waits=waits)
        answer = await self._commands.start(start)
        # What is started is answered in any case; who finds no place here asks for the end later.
        wait_ms = request.wait_ms if self._overload.has_place_to_wait else 0
        state = await self._wait_ended(answer.arn, wait_ms)
        return client_pb2.StartExecutionResponse(
            execution_arn=answer.arn,
            started=answer.started,
            execution=await self._rendered(state, reservation, large_input=False),
        )

    async def GetExecution(
        self, request: client_pb2.GetExecutionRequest, context: _Context
    ) -> model_pb2.Execution:
        validation.check_range("wait_ms", request.wait_ms, 0, limits.EXECUTION_WAIT_MS_MAX)
        try:
            state = await self._wait_ended(request.execution_arn, request.wait_ms)
        except Quarantined:
            quarantined = await self._queries.quarantined(request.execution_arn)
            # Who waits for the end must hear that it will not come.
            if quarantined is None or request.wait_ms:
                raise
            return quarantined_to_message(quarantined)
        if request.exclude_execution_data:
            return execution_to_message(state, exclude_data=True)
        return await self._rendered(state, self._budget.for_call(context))

    async def GetExecutionHistory(
        self, request: client_pb2.GetExecutionHistoryRequest, context: _Context
    ) -> client_pb2.GetExecutionHistoryResponse:
        return await history_page(self._queries, request, self._budget.for_call(context))

    async def FollowExecutionHistory(  # type: ignore[override] # the stub knows no context.write
        self, request: client_pb2.FollowExecutionHistoryRequest, context: _Context
    ) -> None:
        validation.check_range("after_event_id", request.after_event_id, 0, limits.EVENT_ID_MAX)
        events = self._queries.follow(request.execution_arn, request.after_event_id)
        try:
            async with self._readiness.while_serving():
                with self._overload.waiting():
                    async for event in events:
                        await self._write_event(request, event, context)
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()

    async def ListOpenCallbacks(
        self, request: client_pb2.ListOpenCallbacksRequest, context: _Context
    ) -> client_pb2.ListOpenCallbacksResponse:
        return open_callback_page(await self._queries.describe(request.execution_arn), request)

    async def ListExecutions(
        self, request: client_pb2.ListExecutionsRequest, context: _Context
    ) -> client_pb2.ListExecutionsResponse:
        return await execution_page(self._queries, request)

    async def StopExecution(
        self, request: client_pb2.StopExecutionRequest, context: _Context
    ) -> client_pb2.StopExecutionResponse:
        error = error_from_message(request.error) if request.HasField("error") else None
        stopped_ms = await self._commands.stop(request.execution_arn, error)
        return client_pb2.StopExecutionResponse(stop_timestamp=timestamp_from_ms(stopped_ms))

    async def PauseExecution(
        self, request: client_pb2.PauseExecutionRequest, context: _Context
    ) -> client_pb2.PauseExecutionResponse:
        status = await self._commands.pause(
            request.execution_arn,
            reason=request.reason if request.HasField("reason") else None,
            timeout_paused=request.execution_timeout_paused
            if request.HasField("execution_timeout_paused")
            else True,
        )
        return client_pb2.PauseExecutionResponse(status=status)

    async def ResumeExecution(
        self, request: client_pb2.ResumeExecutionRequest, context: _Context
    ) -> client_pb2.ResumeExecutionResponse:
        reason = request.reason if request.HasField("reason") else None
        status = await self._commands.resume(request.execution_arn, reason=reason)
        return client_pb2.ResumeExecutionResponse(status=status)

    async def DeleteExecution(
        self, request: client_pb2.DeleteExecutionRequest, context: _Context
    ) -> client_pb2.DeleteExecutionResponse:
        requested_ms = await self._commands.delete(request.execution_arn)
        return client_pb2.DeleteExecutionResponse(
            deletion_request_timestamp=timestamp_from_ms(requested_ms)
        )

    async def ListQuarantined(
        self, request: client_pb2.ListQuarantinedRequest, context: _Context
    ) -> client_pb2.ListQuarantinedResponse:
        return await quarantined_page(self._queries, request)

    async def ListStoredRows(
        self, request: client_pb2.ListStoredRowsRequest, context: _Context
    ) -> client_pb2.ListStoredRowsResponse:
        return await stored_row_page(self._queries, request, self._budget.for_call(context))

    async def ListFunctions(
        self, request: client_pb2.ListFunctionsRequest, context: _Context
    ) -> client_pb2.ListFunctionsResponse:
        rows = await self._queries.functions()
        return client_pb2.ListFunctionsResponse(
            functions=[
                function_to_message(row, self._matching.workers_of(row.namespace, row.name))
                for row in rows
                if row.namespace == validation.NAMESPACE
            ]
        )

    async def RegisterFunctions(
        self, request: client_pb2.RegisterFunctionsRequest, context: _Context
    ) -> client_pb2.RegisterFunctionsResponse:
        check_functions(request.functions)
        await self._commands.register_functions(function_rows(request.functions))
        return client_pb2.RegisterFunctionsResponse()

    async def _rendered(
        self, state: State, reservation: Reservation, *, large_input: bool = True
    ) -> model_pb2.Execution:
        """Return the execution with its payloads; a large input is not sent back to its sender."""
        message = execution_to_message(state)
        payload, result, key = state.input, state.result, state_key(state)
        payloads = (payload, result) if large_input else (result,)
        large_error = None if state.error is None else state.error.kept
        candidates = (*payloads, large_error)
        references = [each for each in candidates if isinstance(each, StoredPayload)]
        texts = await load_payloads(self._queries, key, references, reservation)
        if isinstance(payload, StoredPayload) and large_input:
            message.input = texts[payload]
        if isinstance(result, StoredPayload):
            message.result = texts[result]
        error = error_from(state.error, texts)
        if error is not state.error and error is not None:
            message.error.CopyFrom(error_to_message(error))
        return message

    async def _write_event(
        self,
        request: client_pb2.FollowExecutionHistoryRequest,
        numbered: NumberedEvent,
        context: _Context,
    ) -> None:
        """Write one event; the reservation of a large one is released once it has left."""
        reservation = self._budget.reservation()
        try:
            if not request.exclude_execution_data:
                key = key_of(request.execution_arn)
                [numbered] = await inline_payloads(
                    self._queries, key, [numbered], reservation, bytes_max=PAYLOAD_BYTES_MAX
                )
            exclude_data = request.exclude_execution_data
            event = event_to_message(numbered, exclude_data=exclude_data)
            async with asyncio.timeout(WRITE_S_MAX):
                await context.write(event)
        except TimeoutError:
            raise HeartbeatTimeout(
                f"an event must be read within {WRITE_S_MAX:.0f} s; follow again from the last one"
            ) from None
        finally:
            reservation.release()

    async def _wait_ended(self, arn: str, wait_ms: int) -> State:
        if wait_ms == 0:
            return await self._queries.describe(arn)
        with self._overload.waiting():
            async with self._readiness.while_serving():
                return await self._queries.wait_ended(arn, wait_ms)


def _start_request(request: client_pb2.StartExecutionRequest) -> StartRequest:
    return StartRequest(
        namespace=validation.NAMESPACE,
        function=request.function_name,
        name=request.execution_name if request.HasField("execution_name") else None,
        input=request.input if request.HasField("input") else None,
        timeout_s=request.execution_timeout_seconds
        if request.HasField("execution_timeout_seconds")
        else None,
        retention_days=request.retention_days if request.HasField("retention_days") else None,
        tenant_id=request.tenant_id if request.HasField("tenant_id") else None,
        trace_header=request.trace_header if request.HasField("trace_header") else None,
        accept_unknown=request.accept_unknown,
        fields=_START_FIELDS,
    )
