"""What bodies of requests may take: each of them, and all of them together.

Must stay true: what was reserved is given back by whoever reserved it.
"""

from typing import Final

from perdure_host.lambda_json.failures import Code, LambdaError

# Of all requests together. A few of the largest, or thousands of usual ones.
BODIES_BYTES_MAX: Final = 256 * 1_024 * 1_024


class BodyBudget:
    """What all bodies in flight may take together."""

    def __init__(self, bytes_max: int = BODIES_BYTES_MAX) -> None:
        self.free = bytes_max

    def reserve(self, size: int) -> None:
        """Take room for a part of a body. Raises LambdaError, and then nothing is taken."""
        if size > self.free:
            raise LambdaError(
                Code.TOO_MANY, "too many large requests are under way; try again in a moment"
            )
        self.free -= size

    def release(self, size: int) -> None:
        """Give room back."""
        self.free += size


def check_body_size(size: int, bytes_max: int) -> None:
    """Raise LambdaError for a body that is too large."""
    if size > bytes_max:
        raise LambdaError(
            Code.TOO_LARGE, f"the body has more than the {bytes_max:,} bytes that are allowed"
        )
