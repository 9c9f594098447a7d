"""The context object that a handler of Lambda is given (developer guide, Python context object)."""

import os
import sys
import time
from collections.abc import Callable
from typing import Final

_MS_PER_S: Final = 1_000


def _now_ms() -> int:
    return int(time.time() * _MS_PER_S)


class CognitoIdentity:
    """Who called through Amazon Cognito: nobody, here."""

    def __init__(self) -> None:
        self.cognito_identity_id: str | None = None
        self.cognito_identity_pool_id: str | None = None


class LambdaContext:
    """One invocation, as its handler sees it. Names and units are Lambda's."""

    def __init__(
        self,
        request_id: str,
        function_arn: str,
        deadline_ms: int,
        tenant_id: str | None = None,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = function_arn
        self.tenant_id = tenant_id
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        # A text, as in Lambda's runtime.
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = CognitoIdentity()
        self.client_context: object | None = None
        self._deadline_ms = deadline_ms
        self._now_ms = now_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return how long this invocation may go on, in milliseconds; 0 when its time is over."""
        return max(0, self._deadline_ms - self._now_ms())

    def log(self, message: object) -> None:
        """Write a line to the log."""
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        fields = ",".join(
            f"{name}={value}" for name, value in vars(self).items() if not name.startswith("_")
        )
        return f"LambdaContext([{fields}])"
