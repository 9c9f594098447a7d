"""Pages in a browser are no clients: one that somebody visits must not act on what trusts its host.

Signatures and tokens are no help there, where callers of the same machine need none.
"""

from collections.abc import Container
from typing import Final

from perdure_host.lambda_json.failures import Code, LambdaError

# Every browser of today sends one of them along, and no SDK does.
_BROWSER_HEADERS: Final = ("origin", "sec-fetch-site")


def check_no_browser(header_names: Container[str]) -> None:
    """Raise LambdaError for the request of a page; names of headers are in lower case."""
    if any(name in header_names for name in _BROWSER_HEADERS):
        raise LambdaError(Code.ACCESS_DENIED, "the Lambda API is not for pages in a browser")
