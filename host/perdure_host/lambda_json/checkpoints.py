"""Requests and responses of CheckpointDurableExecution and GetDurableExecutionState."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from perdure_core import limits
from perdure_core.model import Operation, OperationUpdate
from perdure_core.refusals import Invalid
from perdure_core.validation import check_client_token
from perdure_host.lambda_json.bounds import CHECKPOINT_BYTES_MAX
from perdure_host.lambda_json.failures import decoded
from perdure_host.lambda_json.fields import present
from perdure_host.lambda_json.operations import operation_json
from perdure_host.lambda_json.shapes import CheckpointShape

# Payloads are JSON themselves, and their quotation marks are escaped.
CHECKPOINT_BODY_BYTES_MAX: Final = 2 * CHECKPOINT_BYTES_MAX

# Start of the message about a token that is invalid or stale. SDKs look for it.
CHECKPOINT_REFUSED: Final = "Invalid checkpoint token"


class CheckpointRequest(NamedTuple):
    """A checkpoint as the core takes it."""

    token: str
    client_token: str
    updates: tuple[OperationUpdate, ...]


def checkpoint_request(body: bytes) -> CheckpointRequest:
    """Parse the body of a checkpoint. Raises LambdaError, Invalid."""
    shape = decoded(body, CheckpointShape)
    updates = shape.updates or ()
    if len(updates) > limits.CHECKPOINT_UPDATES_MAX:
        raise Invalid(
            f"{len(updates):,} Updates; at most {limits.CHECKPOINT_UPDATES_MAX:,} are allowed"
        )
    # Without a client token, a retry is recognized by its equal content.
    client_token = shape.client_token or blake2b(body, digest_size=16).hexdigest()
    check_client_token(client_token)
    return CheckpointRequest(
        shape.checkpoint_token, client_token, tuple([update.to_core() for update in updates])
    )


def checkpoint_json(token: str | None, operations: Iterable[Operation]) -> dict[str, object]:
    """Return the response; it has no token after the last checkpoint of an invocation."""
    changed = [operation_json(operation) for operation in operations]
    return present(CheckpointToken=token, NewExecutionState={"Operations": changed})


def state_json(operations: Iterable[Operation], next_marker: str | None) -> dict[str, object]:
    """Return one page of the state."""
    return page_json([operation_json(operation) for operation in operations], next_marker)


def page_json(rendered: Sequence[object], next_marker: str | None) -> dict[str, object]:
    """Return one page of the state, of operations that are rendered already."""
    return present(Operations=rendered, NextMarker=next_marker)
