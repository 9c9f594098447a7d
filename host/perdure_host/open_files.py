"""The number of files and connections that a process may have open."""

import resource
from typing import Final

# Enough for all connections of a server.
OPEN_FILES_WANTED: Final = 65_536


def raise_open_files() -> None:
    """Raise the limit of this process as far as the system allows, up to what a server wants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _bounded(hard)
    if _bounded(soft) < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def open_files_max() -> int:
    """Return how many files and connections this process may have open."""
    return _bounded(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _bounded(limit: int) -> int:
    return OPEN_FILES_WANTED if limit == resource.RLIM_INFINITY else min(limit, OPEN_FILES_WANTED)
