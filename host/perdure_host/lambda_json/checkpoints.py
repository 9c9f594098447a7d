"""CheckpointDurableExecution and GetDurableExecutionState: what is asked, and what is answered."""

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

# How the message about a token begins that is not, or no longer, the one to show. SDKs look for it.
TURN_REFUSED: Final = "Invalid checkpoint token"


class CheckpointRequest(NamedTuple):
    """A checkpoint in words of the core."""

    token: str
    client_token: str
    updates: tuple[OperationUpdate, ...]


def checkpoint_request(body: bytes) -> CheckpointRequest:
    """Read the body of a checkpoint. Raises LambdaError, Invalid."""
    shape = decoded(body, CheckpointShape)
    updates = shape.updates or ()
    if len(updates) > limits.CHECKPOINT_UPDATES_MAX:
        raise Invalid(
            f"{len(updates):,} Updates; at most {limits.CHECKPOINT_UPDATES_MAX:,} are allowed"
        )
    # Without a token of the client's, a repeat is what has the same content.
    client_token = shape.client_token or blake2b(body, digest_size=16).hexdigest()
    check_client_token(client_token)
    return CheckpointRequest(
        shape.checkpoint_token, client_token, tuple([update.in_core() for update in updates])
    )


def checkpoint_json(token: str | None, operations: Iterable[Operation]) -> dict[str, object]:
    """Return the answer; without a token this was the last checkpoint of the invocation."""
    changed = [operation_json(operation) for operation in operations]
    return present(CheckpointToken=token, NewExecutionState={"Operations": changed})


def state_json(operations: Iterable[Operation], next_marker: str | None) -> dict[str, object]:
    """Return one page of the state."""
    return page_json([operation_json(operation) for operation in operations], next_marker)


def page_json(rendered: Sequence[object], next_marker: str | None) -> dict[str, object]:
    """Return one page of the state, of operations that are rendered already."""
    return present(Operations=rendered, NextMarker=next_marker)
