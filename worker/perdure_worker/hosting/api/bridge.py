"""The checkpoints of one invocation, between a handler that speaks HTTP and the worker's session.

The handler's AWS SDK receives tokens of the worker, one for each checkpoint. Behind them is a
`CheckpointWriter`, which reconnects, repeats and claims as it does for every other handler.

Must stay true: one call is one checkpoint, all or nothing; a token is used up by the call that it
was accepted with; the same call again (same token, same client token) gets the same answer, also
while the first is under way; and once something could not be recorded, nothing more is.
"""

import asyncio
import base64
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from perdure.worker_api import (
    CheckpointAnswer,
    CheckpointRefused,
    CheckpointUnavailable,
    CheckpointWriter,
    Invocation,
    InvocationLost,
)
from perdure_core.model import (
    ACTIONS_OPEN,
    ContextDetails,
    Operation,
    OperationUpdate,
    StepDetails,
)
from perdure_core.refusals import Invalid
from perdure_host.lambda_json.checkpoints import (
    CHECKPOINT_REFUSED,
    CheckpointRequest,
    checkpoint_json,
    page_json,
)
from perdure_host.lambda_json.failures import Code, LambdaError
from perdure_host.lambda_json.fields import seconds
from perdure_host.lambda_json.operations import TimeWriter, milliseconds, operation_json

# What an event holds of the state; the rest is fetched in pages (as AWS's own emulator does).
PAGE_BYTES_MAX: Final = 5 * 1_024 * 1_024

BRIDGE_ID_BYTES: Final = 16
_TURN_BYTES: Final = 5
_MARKER: Final = "at-"


def bridge_id_of(token: str) -> bytes:
    """Return which bridge a token is of. Raises Invalid."""
    try:
        raw = base64.b64decode(token.encode("ascii"), validate=True)
    except ValueError:
        raise Invalid(f"{CHECKPOINT_REFUSED}: it is not base64") from None
    return raw[:BRIDGE_ID_BYTES]


class CheckpointBridge:
    """The checkpoints of one invocation. Belongs to a loop."""

    def __init__(
        self, bridge_id: bytes, invocation: Invocation, checkpoints: CheckpointWriter
    ) -> None:
        assert len(bridge_id) == BRIDGE_ID_BYTES
        self.id = bridge_id
        self.execution_arn = invocation.execution_arn
        self.request_id = invocation.invocation_id
        self._invocation = invocation
        self._checkpoints = checkpoints
        self._operations = {operation.id: operation for operation in invocation.operations}
        self._news: deque[CheckpointAnswer] = deque()
        self._turn = 0
        self._revoked = False
        self._broken: str | None = None
        self._call: tuple[str, str] | None = None
        self._answer: asyncio.Future[dict[str, object]] | None = None
        # On the worker's loop; read here once the call that it belongs to is settled.
        checkpoints.subscribe(self._news.append)

    @property
    def token(self) -> str:
        """Token that the next checkpoint must carry."""
        return base64.b64encode(self.id + self._turn.to_bytes(_TURN_BYTES, "big")).decode()

    def event(self) -> str:
        """Return what the handler is invoked with; what is too much for it follows in pages."""
        page, marker = self._page(0, len(self._operations), least=0, time=milliseconds)
        return msgspec.json.encode(
            {
                "DurableExecutionArn": self.execution_arn,
                "CheckpointToken": self.token,
                "InitialExecutionState": {
                    "Operations": page,
                    "NextMarker": marker or "",
                },
                "UpdatedOperationIds": self._invocation.updated_operation_ids,
            }
        ).decode()

    def state(self, token: str, marker: str, limit: int) -> dict[str, object]:
        """Return a page of the state. Raises Invalid."""
        self._check_token(token)
        position = marker.removeprefix(_MARKER) if marker else "0"
        if not position.isdecimal() or int(position) > len(self._operations):
            raise Invalid("malformed page marker")
        return page_json(*self._page(int(position), limit, least=1, time=seconds))

    async def checkpoint(self, request: CheckpointRequest) -> dict[str, object]:
        """Record updates; return the answer. Raises Invalid, LambdaError."""
        call = (request.token, request.client_token)
        if call != self._call or self._answer is None:
            self._check_token(request.token)
            if self._answer is not None and not self._answer.done():
                raise Invalid(f"{CHECKPOINT_REFUSED}: another checkpoint with it is under way")
            self._call = call
            self._answer = asyncio.ensure_future(self._record(request))
        # A client that hangs up takes nothing back.
        return await asyncio.shield(self._answer)

    async def _record(self, request: CheckpointRequest) -> dict[str, object]:
        if self._broken is not None:
            raise LambdaError(Code.SERVICE, self._broken)
        try:
            await asyncio.wrap_future(self._checkpoints.submit(request.updates, urgent=True))
        except InvocationLost:
            raise Invalid(
                f"{CHECKPOINT_REFUSED}: this invocation now belongs to another worker"
            ) from None
        except CheckpointRefused as error:
            raise Invalid(error.message) from None
        except CheckpointUnavailable as error:
            self._broken = f"the checkpoint could not be recorded: {error}"
            raise LambdaError(Code.SERVICE, self._broken) from None
        self._turn += 1
        changed = self._learn(request.updates)
        return checkpoint_json(None if self._revoked else self.token, changed)

    def _learn(self, updates: Sequence[OperationUpdate]) -> Sequence[Operation]:
        """Return what has changed; its outcomes are those of the updates, which servers omit."""
        changed: dict[str, Operation] = {}
        while self._news:
            answer = self._news.popleft()
            changed.update({operation.id: operation for operation in answer.operations})
            self._revoked = self._revoked or answer.revoked
        for update in updates:
            if update.action not in ACTIONS_OPEN and update.id in changed:
                changed[update.id] = _with_outcome(changed[update.id], update)
        self._operations.update(changed)
        return list(changed.values())

    def _check_token(self, token: str) -> None:
        if token != self.token:
            raise Invalid(f"{CHECKPOINT_REFUSED}: it is not the latest of its invocation")
        if self._revoked:
            raise Invalid(f"{CHECKPOINT_REFUSED}: it was revoked")

    def _page(
        self, position: int, limit: int, *, least: int, time: TimeWriter
    ) -> tuple[list[msgspec.Raw], str | None]:
        """Return operations from a position on, as many as fit, and where the rest begins."""
        operations = list(self._operations.values())
        page: list[msgspec.Raw] = []
        size = 0
        for operation in operations[position : position + limit]:
            rendered = msgspec.json.encode(operation_json(operation, time))
            size += len(rendered)
            if size > PAGE_BYTES_MAX and len(page) >= least:
                break
            page.append(msgspec.Raw(rendered))
        end = position + len(page)
        return page, f"{_MARKER}{end}" if end < len(operations) else None


def _with_outcome(operation: Operation, update: OperationUpdate) -> Operation:
    """Return an operation with the result or error that the update has recorded for it."""
    details = operation.details
    if not isinstance(details, StepDetails | ContextDetails):
        return operation
    details = msgspec.structs.replace(details, result=update.payload, error=update.error)
    return msgspec.structs.replace(operation, details=details)
