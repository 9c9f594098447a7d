"""The environment of a handler's process: what Lambda sets, on top of what the worker has.

The worker's own variables go along, so that a container's settings and credentials reach its
functions; those of Perdure itself do not.
"""

import sys
from collections.abc import Mapping
from typing import Final

from perdure_host.lambda_json.names import VERSION
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.log_lines import LineFormat

REGION_DEFAULT: Final = "us-east-1"

# Any of them says where credentials come from.
_CREDENTIALS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
# Not checked: the worker's endpoint asks for checkpoint tokens instead.
_DUMMY_CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "perdure", "AWS_SECRET_ACCESS_KEY": "perdure"}
_LOOPBACK: Final = "127.0.0.1"


def region_of(environment: Mapping[str, str]) -> str:
    """Return the region that functions believe to be in."""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    return region or REGION_DEFAULT


def process_environment(
    definition: HostedDefinition,
    *,
    inherited: Mapping[str, str],
    endpoint_url: str,
    line_format: LineFormat,
    log_stream: str,
) -> dict[str, str]:
    """Return the variables of a new process of the function."""
    own = {name: value for name, value in inherited.items() if not name.startswith("PERDURE_")}
    # It would hide the endpoint from botocore.
    own.pop("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", None)
    own.setdefault("AWS_LAMBDA_LOG_LEVEL", "INFO")
    own.setdefault("PYTHONIOENCODING", "utf-8:backslashreplace")
    environment = {**own, **definition.environment}
    region = region_of(environment)
    environment |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if not any(environment.get(name) for name in _CREDENTIALS):
        environment |= _DUMMY_CREDENTIALS
    environment |= _unproxied(environment)
    return environment | {
        "_HANDLER": definition.handler,
        "AWS_ENDPOINT_URL_LAMBDA": endpoint_url,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(definition.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": definition.settings.name,
        "AWS_LAMBDA_FUNCTION_VERSION": VERSION,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": "JSON" if line_format is LineFormat.JSON else "Text",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{definition.settings.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "LAMBDA_TASK_ROOT": definition.folder,
    }


def _unproxied(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps calls to the worker's own endpoint from a proxy."""
    known = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    hosts = f"{known},{_LOOPBACK}" if known else _LOOPBACK
    return {"NO_PROXY": hosts, "no_proxy": hosts}
