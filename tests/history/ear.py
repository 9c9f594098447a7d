"""A sink of status-change events that remembers what it was told, and can be told to refuse."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

from perdure_core.identity import arn_of
from perdure_history.status_event_delivery import BACKOFF_MS_MAX
from perdure_host.errors import SinkError
from perdure_host.ports import StatusEvent
from tests.history.world import World


class Ear:
    """The port `StatusSink`, in a list."""

    def __init__(self, dice: random.Random | None = None) -> None:
        """With dice it refuses every third page or so, with some of it heard already."""
        self.heard: list[dict[str, Any]] = []
        # How many events each call brought, those of refused calls included.
        self.pages: list[int] = []
        self.refuses = False
        # While it is not set, calls wait.
        self.gate = asyncio.Event()
        self.gate.set()
        self._dice = dice

    async def deliver(self, events: Sequence[StatusEvent]) -> None:
        self.pages.append(len(events))
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.refuses:
            raise SinkError("cannot append to /events: No space left on device")
        for number, event in enumerate(events):
            if self._dice is not None and self._dice.randint(0, 3 * len(events)) == number:
                raise SinkError("somebody has hung up")
            self.heard.append(json.loads(event.body))
            assert self.heard[-1]["id"] == event.id

    def be_well(self) -> None:
        """Refuse nothing from now on."""
        self.refuses = False
        self._dice = None

    def statuses(self, arn: str | None = None) -> list[str]:
        """Return the statuses that were told, of all executions or of one."""
        details = [event["detail"] for event in self.heard]
        return [d["status"] for d in details if arn in (None, d["durableExecutionArn"])]

    def ids(self) -> list[str]:
        return [event["id"] for event in self.heard]


async def judge_statuses(world: World, ear: Ear) -> None:
    """Let everything be told, and hold it, repetitions aside, against the executions there are."""
    ear.be_well()
    await world.pass_ms(BACKOFF_MS_MAX)
    assert await world.memory.count_status_events(limit=9) == 0
    told: dict[str, dict[str, str]] = {}
    for event in ear.heard:
        of_execution = told.setdefault(event["detail"]["durableExecutionArn"], {})
        status = event["detail"]["status"]
        # The same id always says the same; and the end is first heard after the start.
        assert of_execution.setdefault(event["id"], status) == status
    rows = world.rows()
    ends = [[] if row.ended_ms is None else [row.status] for row in rows]
    expected = [["RUNNING", *end] for end in ends]
    assert [list(told.pop(arn_of(row.identity)).values()) for row in rows] == expected
    assert told == {}
