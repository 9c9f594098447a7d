"""The lookup of a registered function by name, ARN and qualifier."""

import re
from typing import Final

from perdure_core.limits import FUNCTION_VERSION_CHARS_MAX
from perdure_core.refusals import Invalid, Unknown
from perdure_core.text import ARN_PREVIEW_CHARS_MAX, cut_chars, preview
from perdure_host.lambda_json.names import VERSION, function_arn, parse_function
from perdure_host.ports import FunctionRow
from perdure_host.services import HistoryQueries

_QUALIFIER: Final = re.compile(
    rf"\$LATEST\.PUBLISHED|[A-Za-z0-9$_-]{{1,{FUNCTION_VERSION_CHARS_MAX}}}"
)


async def known_function(
    queries: HistoryQueries, text: str, qualifier: str | None, namespace: str
) -> FunctionRow:
    """Return the named function, if a worker has ever registered it.

    Raises Invalid, Unknown.
    """
    parsed = parse_function(text, namespace)
    if qualifier is not None and _QUALIFIER.fullmatch(qualifier) is None:
        raise Invalid(
            f"Qualifier {preview(qualifier)} must be {VERSION}, or 1 to"
            f" {FUNCTION_VERSION_CHARS_MAX} of A-Z a-z 0-9 $ _ -"
        )
    if qualifier is not None and parsed.qualifier not in (None, qualifier):
        raise Invalid(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    version = parsed.qualifier or qualifier or VERSION
    for row in await queries.functions():
        if (row.namespace, row.name, VERSION) == (parsed.namespace, parsed.name, version):
            return row
    arn = function_arn(parsed.namespace, parsed.name)
    raise Unknown(f"Function not found: {arn}:{cut_chars(version, ARN_PREVIEW_CHARS_MAX)}")
