"""The context object of a Lambda handler (developer guide, Python context object)."""

import base64
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, cast

_MS_PER_S: Final = 1_000


def _monotonic_ms() -> int:
    return int(time.monotonic() * _MS_PER_S)


class CognitoIdentity:
    """Amazon Cognito identity of the caller: always empty here."""

    def __init__(self) -> None:
        self.cognito_identity_id: str | None = None
        self.cognito_identity_pool_id: str | None = None


class Client:
    """The application that called. Names are those of the mobile SDKs of AWS."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self.installation_id = fields.get("installation_id")
        self.app_title = fields.get("app_title")
        self.app_version_name = fields.get("app_version_name")
        self.app_version_code = fields.get("app_version_code")
        self.app_package_name = fields.get("app_package_name")


class ClientContext:
    """Client context that the caller of Invoke sent; None where it was left out."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self.custom = fields.get("custom")
        self.env = fields.get("env")
        client = fields.get("client")
        self.client = (
            Client(cast("dict[str, object]", client)) if isinstance(client, dict) else None
        )


def read_client_context(encoded: str | None) -> ClientContext | None:
    """Read JSON in base64 that was checked when it came in."""
    if encoded is None:
        return None
    fields: dict[str, object] = json.loads(base64.b64decode(encoded))
    return ClientContext(fields)


class LambdaContext:
    """One invocation, as its handler sees it. Names and units are Lambda's."""

    def __init__(
        self,
        request_id: str,
        function_arn: str,
        deadline_ms: int,
        tenant_id: str | None = None,
        client_context: ClientContext | None = None,
        monotonic_ms: Callable[[], int] = _monotonic_ms,
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
        self.client_context = client_context
        self._deadline_ms = deadline_ms
        self._monotonic_ms = monotonic_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return how long this invocation may go on, in milliseconds; 0 when its time is over."""
        return max(0, self._deadline_ms - self._monotonic_ms())

    def log(self, message: object) -> None:
        """Write a line to the log."""
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        fields = ",".join(
            f"{name}={value}" for name, value in vars(self).items() if not name.startswith("_")
        )
        return f"LambdaContext([{fields}])"
