"""Paths of hosted handlers: a secret of their process, then the path of the Lambda API.

A worker gives each process of a handler an endpoint with a secret in its path. A call that is
passed on to a node keeps it, since the caller has signed the whole path; the node skips it.
"""

import re
import secrets
from typing import Final, NamedTuple

_PREFIX: Final = "/.process/"
_BYTES: Final = 32
_PATH: Final = re.compile(r"/\.process/(?P<secret>[A-Za-z0-9_-]{43})(?P<rest>/.*)", re.DOTALL)


class ProcessPath(NamedTuple):
    """The secret of a process, and the path that was meant."""

    secret: str
    path: str


def new_secret() -> str:
    """Return a secret for one process."""
    return secrets.token_urlsafe(_BYTES)


def prefix_of(secret: str) -> str:
    """Return what the paths of a process begin with."""
    return f"{_PREFIX}{secret}"


def split_path(path: str) -> ProcessPath | None:
    """Return the parts of a path of a hosted handler; None for any other path."""
    found = _PATH.fullmatch(path)
    return None if found is None else ProcessPath(found["secret"], found["rest"])
