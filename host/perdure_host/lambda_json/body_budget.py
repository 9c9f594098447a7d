"""Memory budget of request bodies: limits for each of them, and for all of them together.

Must stay true: a reservation is released by the code that made it.
"""

from typing import Final

from perdure_host.lambda_json.failures import Code, LambdaError

# For all requests together: a few of the largest, or thousands of usual ones.
BODIES_BYTES_MAX: Final = 256 * 1_024 * 1_024
# What of it bodies may take whose signature cannot be checked before they have come.
UNPROVEN_BYTES_MAX: Final = 128 * 1_024 * 1_024


class BodyBudget:
    """Memory for all bodies in flight."""

    def __init__(self, bytes_max: int = BODIES_BYTES_MAX) -> None:
        self.free = bytes_max

    def reserve(self, size: int) -> None:
        """Reserve memory for a part of a body. Raises LambdaError, and then nothing is reserved."""
        if size > self.free:
            raise LambdaError(Code.TOO_MANY, "too many large requests in flight; retry later")
        self.free -= size

    def release(self, size: int) -> None:
        """Release a reservation."""
        self.free += size


def check_body_size(size: int, bytes_max: int) -> None:
    """Raise LambdaError for a body that is too large."""
    if size > bytes_max:
        raise LambdaError(Code.TOO_LARGE, f"the request body must be at most {bytes_max:,} bytes")
