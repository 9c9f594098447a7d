"""Which processes have used gRPC: this one, or one that it was forked from."""

import os
from typing import Final

_users: Final[set[int]] = set()


def note_grpc_use() -> None:
    """Note that this process uses gRPC from now on."""
    _users.add(os.getpid())


def used_before_fork() -> bool:
    """Return whether this process was forked from one that had used gRPC."""
    return not _users <= {os.getpid()}
