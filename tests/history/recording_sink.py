"""A sink of status events that records what is delivered, and can be made to fail."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

from perdure_core.identity import arn_of
from perdure_history.status_event_delivery import BACKOFF_MS_MAX
from perdure_host.errors import SinkError
from perdure_host.ports import StatusEvent
from tests.history.simulation import Simulation


class RecordingSink:
    """The port `StatusSink`, in a list."""

    def __init__(self, dice: random.Random | None = None) -> None:
        """With dice it fails about every third page, after it has accepted a part of it."""
        self.delivered: list[dict[str, Any]] = []
        # The number of events in each call, failed calls included.
        self.pages: list[int] = []
        self.fails = False
        # While it is not set, calls wait.
        self.gate = asyncio.Event()
        self.gate.set()
        self._dice = dice

    async def deliver(self, events: Sequence[StatusEvent]) -> None:
        self.pages.append(len(events))
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.fails:
            raise SinkError("cannot append to /events: No space left on device")
        for number, event in enumerate(events):
            if self._dice is not None and self._dice.randint(0, 3 * len(events)) == number:
                raise SinkError("the sink failed on purpose")
            self.delivered.append(json.loads(event.body))
            assert self.delivered[-1]["id"] == event.id

    def recover(self) -> None:
        """Fail no more."""
        self.fails = False
        self._dice = None

    def statuses(self, arn: str | None = None) -> list[str]:
        """Return the delivered statuses, of all executions or of one."""
        details = [event["detail"] for event in self.delivered]
        return [d["status"] for d in details if arn in (None, d["durableExecutionArn"])]

    def ids(self) -> list[str]:
        return [event["id"] for event in self.delivered]


async def check_status_events(simulation: Simulation, sink: RecordingSink) -> None:
    """Let everything be delivered; compare it, without repetitions, with the executions."""
    sink.recover()
    await simulation.pass_ms(BACKOFF_MS_MAX)
    assert await simulation.memory.count_status_events(limit=9) == 0
    by_execution: dict[str, dict[str, str]] = {}
    for event in sink.delivered:
        of_execution = by_execution.setdefault(event["detail"]["durableExecutionArn"], {})
        status = event["detail"]["status"]
        # The same id always has the same status; and the end first comes after the start.
        assert of_execution.setdefault(event["id"], status) == status
    rows = simulation.rows()
    ends = [[] if row.ended_ms is None else [row.status] for row in rows]
    expected = [["RUNNING", *end] for end in ends]
    assert [list(by_execution.pop(arn_of(row.identity)).values()) for row in rows] == expected
    assert by_execution == {}
