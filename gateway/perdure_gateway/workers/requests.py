"""The calls of workers: messages of the contract, checked, decoded and passed to history."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec

from perdure_core import limits
from perdure_core.large_payloads import inline_operations, references_in
from perdure_core.model import (
    ACTIONS_OPEN,
    ContextDetails,
    Operation,
    OperationUpdate,
    StepDetails,
)
from perdure_core.refusals import Invalid
from perdure_core.validation import check_error, check_payload
from perdure_gateway.admission import validation
from perdure_gateway.admission.memory_budget import Reservation
from perdure_gateway.views.payloads import load_payloads
from perdure_host.codec import (
    completion_status,
    error_from_message,
    operation_to_message,
    timestamp_from_ms,
    update_from_message,
)
from perdure_host.lambda_json.names import target_name
from perdure_host.ports import FunctionRow
from perdure_host.services import HistoryQueries, InvocationCommands, InvocationOffer
from perdure_proto.v1 import worker_pb2

_REPLAYED_OPERATIONS_MAX = 2**31 - 1


class WorkerRequests:
    """Makes the calls of workers at history, for streams and unary calls alike."""

    def __init__(self, invocations: InvocationCommands, queries: HistoryQueries) -> None:
        self._invocations = invocations
        self._queries = queries

    async def checkpoint(
        self,
        request: worker_pb2.CheckpointRequest,
        reservation: Reservation,
    ) -> worker_pb2.CheckpointResponse:
        """Apply a batch of updates; the response omits outcomes that the request itself carried."""
        # Core checks the updates. These two bounds guard memory before they are decoded.
        if len(request.updates) > limits.CHECKPOINT_UPDATES_MAX:
            validation.check_count("updates", len(request.updates), limits.CHECKPOINT_UPDATES_MAX)
        size = request.ByteSize()
        if size > limits.CHECKPOINT_BYTES_MAX:
            most = limits.CHECKPOINT_BYTES_MAX
            raise Invalid(f"a checkpoint must be at most {most:,} bytes, got {size:,}")
        reservation.reserve(size)
        updates = tuple([_update(message) for message in request.updates])
        answer = await self._invocations.checkpoint(
            request.checkpoint_token, request.client_token, updates
        )
        # A START carries an input, never a result; when it is repeated, the result may be new.
        carried = {update.id for update in updates if update.action not in ACTIONS_OPEN}
        operations = [_without_echo(operation, carried) for operation in answer.operations]
        texts = await load_payloads(
            self._queries, answer.key, references_in(operations), reservation
        )
        response = worker_pb2.CheckpointResponse(checkpoint_token=answer.token)
        for operation in inline_operations(operations, texts):
            response.operations.add().CopyFrom(operation_to_message(operation))
        return response

    async def complete(
        self, request: worker_pb2.CompleteRequest, reservation: Reservation
    ) -> worker_pb2.CompleteResponse:
        """End an invocation."""
        reservation.reserve(request.ByteSize())
        status = completion_status(request.status)
        error = error_from_message(request.error) if request.HasField("error") else None
        # Core would end the execution as failed; the contract has the worker refused instead.
        check_error("error", error)
        check_payload("result", request.result)
        replayed = request.replayed_operations
        validation.check_range("replayed_operations", replayed, 0, _REPLAYED_OPERATIONS_MAX)
        await self._invocations.complete(
            request.checkpoint_token,
            status,
            result=request.result if request.HasField("result") else None,
            error=error,
            replayed_operations=replayed,
        )
        return worker_pb2.CompleteResponse()

    async def state_page(
        self,
        request: worker_pb2.GetStateRequest,
        reservation: Reservation,
    ) -> worker_pb2.GetStateResponse:
        """Return one page of an invocation's operations."""
        limit = validation.checked_page_items("max_items", request.max_items, limits.PAGE_ITEMS_MAX)
        page = await self._invocations.state_page(request.checkpoint_token, request.marker, limit)
        texts = await load_payloads(
            self._queries, page.key, references_in(page.operations), reservation
        )
        response = worker_pb2.GetStateResponse(next_marker=page.next_marker)
        for operation in inline_operations(page.operations, texts):
            response.operations.add().CopyFrom(operation_to_message(operation))
        return response

    async def heartbeat(
        self, worker_id: str, invocation_ids: Sequence[str]
    ) -> worker_pb2.HeartbeatResponse:
        """Record what runs in a worker; the response lists the invocations that it has lost."""
        validation.check_count("invocation_ids", len(invocation_ids), limits.INVOCATIONS_LISTED_MAX)
        lost = await self._invocations.heartbeat(worker_id, tuple(invocation_ids))
        return worker_pb2.HeartbeatResponse(lost_invocation_ids=lost)

    async def hand_back(self, request: worker_pb2.HandBackRequest) -> None:
        """Return unfinished invocations to their queues."""
        tokens = tuple(request.checkpoint_tokens)
        validation.check_count("checkpoint_tokens", len(tokens), limits.INVOCATIONS_LISTED_MAX)
        await self._invocations.hand_back(tokens)


def invocation_to_message(offer: InvocationOffer) -> worker_pb2.Invocation:
    """Return the message with everything that a worker needs to run the invocation."""
    message = worker_pb2.Invocation(
        invocation_id=offer.invocation_id,
        execution_arn=offer.arn,
        function_name=offer.function,
        checkpoint_token=offer.token,
        next_marker=offer.page.next_marker,
        updated_operation_ids=offer.updated_operation_ids,
        first=offer.first,
        execution_deadline_timestamp=timestamp_from_ms(offer.deadline_ms),
        tenant_id=offer.tenant_id,
        handed_out_timestamp=timestamp_from_ms(offer.handed_out_ms),
        trace_header=offer.trace_header,
        client_context=offer.client_context,
    )
    for operation in offer.page.operations:
        message.operations.add().CopyFrom(operation_to_message(operation))
    return message


def check_registration(request: worker_pb2.RegisterRequest) -> None:
    """Raise Invalid unless the registration is well-formed."""
    validation.check_worker_id(request.worker_id)
    validation.check_range("slots", request.slots, 1, limits.SLOTS_MAX)
    validation.check_count("claims", len(request.claims), limits.INVOCATIONS_LISTED_MAX)
    check_functions(request.functions)


def check_functions(functions: Sequence[worker_pb2.FunctionDefinition]) -> None:
    """Raise Invalid unless every function is well-formed."""
    validation.check_count("functions", len(functions), limits.FUNCTIONS_PER_WORKER_MAX)
    for function in functions:
        validation.check_function_name(function.function_name)
        timeout_s = function.execution_timeout_seconds
        validation.check_range(
            f"execution_timeout_seconds of function {function.function_name!r}",
            timeout_s,
            0,
            limits.EXECUTION_TIMEOUT_S_MAX,
        )
        validation.check_range(
            f"retention_days of function {function.function_name!r}",
            function.retention_days,
            0,
            limits.RETENTION_DAYS_MAX,
        )


def function_rows(functions: Sequence[worker_pb2.FunctionDefinition]) -> list[FunctionRow]:
    """Return functions as they are registered, with defaults for omitted settings.

    Of two with the same name the last one counts.
    """
    rows = [
        FunctionRow(
            namespace=validation.NAMESPACE,
            name=function.function_name,
            execution_timeout_s=function.execution_timeout_seconds
            or limits.EXECUTION_TIMEOUT_S_MAX,
            retention_days=function.retention_days or limits.RETENTION_DAYS_DEFAULT,
            durable=function.durable,
            tenant_isolation=function.tenant_isolation,
        )
        for function in functions
    ]
    return list({row.name: row for row in rows}.values())


def _update(message: worker_pb2.OperationUpdate) -> OperationUpdate:
    update = update_from_message(message)
    if update.function is None:
        return update
    return msgspec.structs.replace(update, function=target_name(update.function))


def _without_echo(operation: Operation, carried: AbstractSet[str]) -> Operation:
    """Return the operation without an outcome that the request itself has carried."""
    details = operation.details
    if operation.id in carried and isinstance(details, StepDetails | ContextDetails):
        details = msgspec.structs.replace(details, result=None, error=None)
        return msgspec.structs.replace(operation, details=details)
    return operation
