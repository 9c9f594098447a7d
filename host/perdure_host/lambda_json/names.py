"""Function names of the Lambda API: bare, qualified, partial or full ARNs; and Perdure's own ARNs.

Partition, region and account of an ARN of AWS say where a function used to be and are ignored. In
an ARN of Perdure the namespace stands in the place of the region.
"""

import re
from typing import Final, NamedTuple

from perdure_core.identity import NAMESPACE_DEFAULT
from perdure_core.limits import FUNCTION_NAME_CHARS_MAX
from perdure_core.refusals import Invalid
from perdure_core.text import ARN_PREVIEW_CHARS_MAX, preview
from perdure_core.validation import check_identifier

# The only version of a function.
VERSION: Final = "$LATEST"
NAME_CHARS_MAX: Final = 256
# There are no accounts; its place in ARNs is kept.
ACCOUNT: Final = "000000000000"

_FORM: Final = re.compile(
    r"(?:arn:(?P<partition>[A-Za-z-]+):lambda:(?P<region>[a-z0-9-]+):)?(?:\d{12}:)?(?:function:)?"
    r"(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[A-Za-z0-9_-]+))?"
)


class FunctionName(NamedTuple):
    """A function as the caller named it; without a qualifier it is the latest version."""

    name: str
    qualifier: str | None
    namespace: str


def parse_function(text: str, namespace: str = NAMESPACE_DEFAULT) -> FunctionName:
    """Parse any accepted form; all except ARNs of Perdure are of `namespace`. Raises Invalid."""
    found = _FORM.fullmatch(text) if len(text) <= NAME_CHARS_MAX else None
    if found is None:
        raise Invalid(
            f"malformed function name {preview(text, ARN_PREVIEW_CHARS_MAX)}: expected NAME,"
            f" NAME:{VERSION} or the ARN of a function"
        )
    name = found["name"]
    check_identifier("function_name", name, FUNCTION_NAME_CHARS_MAX)
    ours = found["partition"] == "perdure"
    return FunctionName(name, found["qualifier"], found["region"] if ours else namespace)


def target_name(text: str, namespace: str = NAMESPACE_DEFAULT) -> str:
    """Return the name of the function that a chained invoke names in any accepted form.

    A version or alias that cannot exist stays part of the name, which then names no function: the
    operation fails like that of any function that does not exist. Raises Invalid for functions of
    another namespace.
    """
    target = parse_function(text, namespace)
    if target.namespace != namespace:
        raise Invalid(
            f"chained invoke of {text!r}: the function must be in the namespace {namespace!r}"
        )
    if target.qualifier in (None, VERSION):
        return target.name
    return f"{target.name}:{target.qualifier}"


def function_arn(namespace: str, name: str) -> str:
    """Return the ARN of a function, without a version."""
    return f"arn:perdure:lambda:{namespace}:{ACCOUNT}:function:{name}"


def version_arn(namespace: str, name: str) -> str:
    """Return the ARN of the version that executions of the function run.

    This is what the service returns (public testing library of AWS, 1.4.0).
    """
    return f"{function_arn(namespace, name)}:{VERSION}"
