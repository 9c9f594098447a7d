"""Check that rejects requests of web pages: a page must not call an API that trusts localhost.

Signatures and tokens do not help where callers of the same machine need none.
"""

from collections.abc import Container
from typing import Final

from perdure_host.lambda_json.failures import Code, LambdaError

# Every current browser sends one of these, and no SDK does.
_BROWSER_HEADERS: Final = ("origin", "sec-fetch-site")


def check_no_browser(header_names: Container[str]) -> None:
    """Raise LambdaError for a request of a web page; header names are in lower case."""
    if any(name in header_names for name in _BROWSER_HEADERS):
        raise LambdaError(Code.ACCESS_DENIED, "the Lambda API does not accept requests of browsers")
