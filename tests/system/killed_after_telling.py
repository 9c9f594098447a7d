"""A node that dies between delivering a page of status-change events and deleting it.

    python -m tests.system.killed_after_telling DATABASE NODE FILE COUNT

It starts so many executions and, once all of them are durable, delivers one page and kills itself.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from perdure_history.service import HistoryService
from perdure_host.clock import SteadyClock
from perdure_host.errors import SinkError
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import FunctionRow, StatusEvent
from perdure_host.services import StartRequest
from perdure_host.sql import open_store
from perdure_host.status_file import StatusFile
from perdure_host.tokens import Signer
from perdure_matching.service import MatchingService

LIFE_S_MAX: Final = 60.0
FUNCTION: Final = FunctionRow(
    namespace="default", name="order", execution_timeout_s=600, retention_days=1, durable=True
)


class Deadly:
    """A sink that kills its process."""

    def __init__(self, path: str) -> None:
        self.file = StatusFile(path)
        self.is_armed = False

    async def deliver(self, events: Sequence[StatusEvent]) -> None:
        if not self.is_armed:
            raise SinkError("not all executions have begun yet")
        await self.file.deliver(events)
        os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, node_name: str, path: str, count: int) -> None:
    store = open_store(url)
    await store.open()
    clock, metrics, sink = SteadyClock(), ServerMetrics(), Deadly(path)
    history = HistoryService(
        store=store,
        clock=clock,
        metrics=metrics,
        signer=Signer(await store.secret()),
        matching=MatchingService(clock, metrics),
        node_name=node_name,
        address="127.0.0.1:1",
    )
    history.deliver_status_events(sink)
    await history.open()
    await history.invocations.register_functions([FUNCTION])
    requests = [
        StartRequest(namespace="default", function="order", name=f"n-{number}")
        for number in range(count)
    ]
    await asyncio.gather(*map(history.commands.start, requests))
    sink.is_armed = True
    await asyncio.wait_for(history.fatal, LIFE_S_MAX)


if __name__ == "__main__":
    _, database, node, file, executions = sys.argv
    asyncio.run(main(database, node, file, int(executions)))
