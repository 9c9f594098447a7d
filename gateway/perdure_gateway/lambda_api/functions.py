"""GetFunction, GetFunctionConfiguration, ListFunctions: the functions that workers registered.

Functions are not deployed here, so responses hold no code, and only the configuration of
executions.
"""

from typing import Final

from starlette.responses import Response

from perdure_core.limits import FUNCTION_NAME_CHARS_MAX
from perdure_core.refusals import Invalid
from perdure_core.text import preview
from perdure_gateway.admission import validation
from perdure_gateway.lambda_api.request import LambdaRequest
from perdure_gateway.lambda_api.resources import configuration_json
from perdure_gateway.lambda_api.responses import json_response
from perdure_host.lambda_json.fields import present
from perdure_host.lambda_json.names import VERSION
from perdure_host.tokens import pack_marker, unpack_marker

ITEMS_MAX: Final = 50
ITEMS_ASKED_MAX: Final = 10_000

_FUNCTIONS: Final = "lambda functions"


async def get(request: LambdaRequest) -> Response:
    """Return the configuration, with an empty code section."""
    return json_response({"Configuration": await _configuration(request), "Code": {}, "Tags": {}})


async def configuration(request: LambdaRequest) -> Response:
    """Return the configuration."""
    return json_response(await _configuration(request))


async def list_all(request: LambdaRequest) -> Response:
    """Return one page of functions, by name."""
    limit = request.number("MaxItems", ITEMS_MAX, least=1, most=ITEMS_ASKED_MAX)
    qualifier = _listed_version(request)
    marker = request.text("Marker")
    after = "" if marker is None else unpack_marker(_FUNCTIONS, marker, tuple[str])[0]
    validation.check_length("the name in the marker", after, FUNCTION_NAME_CHARS_MAX)
    namespace = request.principal.namespace
    rows = [row for row in await request.queries.functions() if row.namespace == namespace]
    later = sorted((row for row in rows if row.name > after), key=lambda row: row.name)
    page = later[: min(limit, ITEMS_MAX)]
    more = len(later) > len(page)
    return json_response(
        present(
            Functions=[configuration_json(row, qualifier) for row in page],
            NextMarker=pack_marker(_FUNCTIONS, (page[-1].name,)) if more else None,
        )
    )


def _listed_version(request: LambdaRequest) -> str | None:
    """Return the qualifier for ARNs of the list: the version, if all versions are requested."""
    version = request.text("FunctionVersion")
    if version not in (None, "ALL"):
        raise Invalid(f"FunctionVersion must be ALL, got {preview(version)}")
    return None if version is None else VERSION


async def _configuration(request: LambdaRequest) -> dict[str, object]:
    return configuration_json(await request.function(), request.qualifier())
