"""What the endpoint lends to a process of a handler: the rights of the invocation that it runs.

Must stay true: without the secret of a process nothing is lent; a process acts for the invocation
that it runs, while it runs it; and of the Lambda API only calls that handlers make are passed on,
never those that operate executions or checkpoint others.
"""

import re
from hashlib import sha256
from typing import Final
from weakref import WeakValueDictionary

from perdure_host.lambda_json.failures import Code, LambdaError
from perdure_host.lambda_json.process_paths import new_secret, prefix_of, split_path

_EXECUTION: Final = r"/2025-12-01/durable-executions/arn:[^/]+/durable-execution/[^/]+/[^/]+"
# What is passed on: method, and the whole path with its encoding undone.
_LENT: Final = (
    ("POST", re.compile(r"/2015-03-31/functions/[^/]+/invocations")),
    ("POST", re.compile(r"/2025-12-01/durable-execution-callbacks/.+/(succeed|fail|heartbeat)")),
    ("GET", re.compile(rf"{_EXECUTION}(/history)?")),
    ("GET", re.compile(r"/2025-12-01/functions/[^/]+/durable-executions")),
)


class ProcessAccess:
    """The access of one process; it ends with the last reference to it."""

    def __init__(self, url: str) -> None:
        self.secret = new_secret()
        self.url = f"{url}{prefix_of(self.secret)}"
        # The invocation that the process runs, by its request id.
        self.request_id: str | None = None

    def run(self, request_id: str | None) -> None:
        """Note which invocation the process runs now; None between two of them."""
        self.request_id = request_id


class ProcessAccesses:
    """The accesses of all processes of a worker."""

    def __init__(self) -> None:
        # By a digest, so that the time of a search reveals nothing about a secret.
        self._by_digest: WeakValueDictionary[bytes, ProcessAccess] = WeakValueDictionary()

    def add(self, url: str) -> ProcessAccess:
        """Return the access of a new process."""
        access = ProcessAccess(url)
        self._by_digest[_digest(access.secret)] = access
        return access

    def find(self, path: str) -> tuple[str, str]:
        """Return the request id of the process whose path this is, and the path that was meant.

        Raises LambdaError when it is no such path, or the process runs no invocation.
        """
        split = split_path(path)
        access = None if split is None else self._by_digest.get(_digest(split.secret))
        if split is None or access is None:
            raise LambdaError(
                Code.ACCESS_DENIED,
                "this endpoint serves the handlers of its worker alone, each under a URL of its"
                " own: AWS_ENDPOINT_URL_LAMBDA",
            )
        if access.request_id is None:
            raise LambdaError(
                Code.ACCESS_DENIED, "the Lambda API can be called within an invocation only"
            )
        return access.request_id, split.path


def check_lent(method: str, path: str) -> None:
    """Raise LambdaError for a call that is not passed on for handlers."""
    if not any(method == lent and form.fullmatch(path) for lent, form in _LENT):
        raise LambdaError(
            Code.ACCESS_DENIED,
            f"{method} {path}: handlers may invoke functions, complete callbacks and read"
            " executions. For anything else call the server itself, with an access key",
        )


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
