"""Which of the known functions a caller means."""

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
    """Return the function that is named, if a worker has ever announced it.

    Raises Invalid, Unknown.
    """
    asked = parse_function(text, namespace)
    if qualifier is not None and _QUALIFIER.fullmatch(qualifier) is None:
        raise Invalid(
            f"Qualifier {preview(qualifier)} must be {VERSION}, or 1 to"
            f" {FUNCTION_VERSION_CHARS_MAX} of A-Z a-z 0-9 $ _ -"
        )
    if qualifier is not None and asked.qualifier not in (None, qualifier):
        raise Invalid(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    version = asked.qualifier or qualifier or VERSION
    for row in await queries.functions():
        if (row.namespace, row.name, VERSION) == (asked.namespace, asked.name, version):
            return row
    arn = function_arn(asked.namespace, asked.name)
    raise Unknown(f"Function not found: {arn}:{cut_chars(version, ARN_PREVIEW_CHARS_MAX)}")
