"""A function to host, as files define it, and its bounds (Lambda quotas page, Lambda API model)."""

import re
from typing import Final

import msgspec

from perdure.worker_api import FunctionSettings

TIMEOUT_S_MAX: Final = 900
# What a template that says nothing means (Lambda API model, CreateFunction).
SAM_TIMEOUT_S_DEFAULT: Final = 3
TIMEOUT_S_DEFAULT: Final = 60
MEMORY_MB_DEFAULT: Final = 128
ENVIRONMENT_BYTES_MAX: Final = 4_096
HANDLER_CHARS_MAX: Final = 128

HANDLER: Final = re.compile(r"[^\s.](?:[^\s]*[^\s.])?\.[^\s.]+")
VARIABLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]+")

# The worker sets them itself; another value would lead the handler astray.
RESERVED: Final = frozenset(
    {
        "_HANDLER",
        "AWS_ENDPOINT_URL_LAMBDA",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)


class HostedDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One function. `folder` is where its imports begin, and where its processes run.

    `timeout_s` bounds an invocation, the settings' `execution_timeout_s` an execution of a durable
    function. `memory_mb` is only reported to the handler; it is not enforced.
    """

    settings: FunctionSettings
    handler: str
    folder: str
    timeout_s: int
    durable: bool
    memory_mb: int = MEMORY_MB_DEFAULT
    environment: dict[str, str] = {}
