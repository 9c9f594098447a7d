"""Identities of executions: ARNs, buckets, and the identities of chained children.

The bucket follows from the ARN, so that any node can find the owner of an execution by itself. The
form of the ARN is that of the Lambda API model (DurableExecutionArn), with the namespace in place
of the region.
"""

import re
from hashlib import blake2b
from typing import Final

import msgspec

from perdure_core.limits import ARN_CHARS_MAX, BUCKETS
from perdure_core.refusals import Invalid
from perdure_core.text import ARN_PREVIEW_CHARS_MAX, preview

# The one namespace, until tokens are bound to namespaces.
NAMESPACE_DEFAULT: Final = "default"

_ARN: Final = re.compile(
    r"arn:perdure:lambda:(?P<namespace>[a-z0-9-]{1,64}):000000000000"
    r":function:(?P<function>[A-Za-z0-9_-]{1,64}):\$LATEST"
    r"/durable-execution/(?P<name>[A-Za-z0-9_-]{1,64})/(?P<execution_id>[0-9a-f]{32})"
)


class ExecutionIdentity(msgspec.Struct, frozen=True):
    """The parts of an ARN."""

    namespace: str
    function: str
    name: str
    execution_id: str


def arn_of(identity: ExecutionIdentity) -> str:
    """Return the ARN."""
    return (
        f"arn:perdure:lambda:{identity.namespace}:000000000000:function:{identity.function}"
        f":$LATEST/durable-execution/{identity.name}/{identity.execution_id}"
    )


def parse_arn(arn: str) -> ExecutionIdentity:
    """Parse an ARN. Raises Invalid when it is not one of Perdure."""
    found = _ARN.fullmatch(arn) if len(arn) <= ARN_CHARS_MAX else None
    if found is None:
        raise Invalid(
            f"malformed execution ARN {preview(arn, ARN_PREVIEW_CHARS_MAX)}: expected"
            " arn:perdure:lambda:NAMESPACE:000000000000:function:FUNCTION:$LATEST"
            "/durable-execution/NAME/ID"
        )
    return ExecutionIdentity(**found.groupdict())


def bucket_of(namespace: str, function: str, name: str) -> int:
    """Return the bucket that an execution of this name lives in, whatever its id."""
    digest = blake2b(f"{namespace}/{function}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def child_identity(
    parent: ExecutionIdentity, operation_id: str, function: str
) -> ExecutionIdentity:
    """Return the identity of the execution that a chained invoke starts, the same each time.

    Delivering the start twice therefore starts it once.
    """
    digest = blake2b(f"{parent.execution_id}/{operation_id}".encode(), digest_size=16).hexdigest()
    return ExecutionIdentity(
        namespace=parent.namespace,
        function=function,
        name=f"{parent.execution_id}-{digest[:31]}",
        execution_id=digest,
    )
