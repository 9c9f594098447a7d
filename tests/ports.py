"""Reserved ports of loopback: a test's server gets its port whenever it starts, and no one else.

A port that was merely free a moment ago goes to the next process that asks, and many tests ask at
once, while a server starts or is dead before it is started again. So a socket stays bound to it,
and never listens. Linux allows a server to bind beside it, since both permit that the address is
reused, and assigns the port neither to processes that ask for any nor to connections.
"""

import socket
import sys
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"


class HeldPort:
    """A port that is reserved until `close`. On systems other than Linux it is only free now."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return f"{HOST}:{self.number}"

    def close(self) -> None:
        """Release the port."""
        self._socket.close()
