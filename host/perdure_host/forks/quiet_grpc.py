"""Loads gRPC with its messages below errors off, unless the environment says otherwise.

It writes about forks to the terminal, at a level that its own manual says is off.
"""

import os
from typing import Final

_VERBOSITY: Final = "GRPC_VERBOSITY"

_chosen: Final = _VERBOSITY in os.environ
os.environ.setdefault(_VERBOSITY, "ERROR")

# isort: split
# It reads the environment while it is loaded.
import grpc  # noqa: E402, F401 # pyright: ignore[reportUnusedImport]

if not _chosen:
    # What this process starts reads its own environment.
    del os.environ[_VERBOSITY]
