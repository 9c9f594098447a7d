"""Leases are in the database's time: nodes never compare the clocks of their machines."""

import pytest

from perdure_history.service import HistoryService
from perdure_host.clock import SteadyClock
from perdure_host.errors import NodeTaken
from perdure_host.memory_store import MemoryStore
from perdure_host.metrics import ServerMetrics
from perdure_host.tokens import Signer
from perdure_matching.service import MatchingService
from tests.history.manual_clock import ManualClock, ManualMachine
from tests.history.simulation import SECRET

DAY_MS = 86_400_000
LEASE_MS = 10_000


class DatabaseWithClock(MemoryStore):
    """A database with a clock of its own, which the test advances."""

    def __init__(self) -> None:
        super().__init__(secret=SECRET)
        self.time_ms = DAY_MS

    async def now_ms(self, own_ms: int) -> int:
        return self.time_ms


def node(store: MemoryStore, name: str, wall_ms: int) -> HistoryService:
    """Return a node on a machine whose clock says this."""
    clock, metrics = SteadyClock(ManualMachine(ManualClock(wall_ms))), ServerMetrics()
    return HistoryService(
        store=store,
        clock=clock,
        metrics=metrics,
        signer=Signer(SECRET),
        matching=MatchingService(clock, metrics),
        node_name=name,
        address=f"{name}:1",
    )


@pytest.mark.parametrize("ahead_ms", [-DAY_MS, DAY_MS])
async def test_a_node_whose_clock_is_a_day_off_takes_over_when_the_lease_is_over(
    ahead_ms: int,
) -> None:
    store = DatabaseWithClock()
    one, other = node(store, "one", 5 * DAY_MS), node(store, "other", 5 * DAY_MS + ahead_ms)
    await one.open()
    for _ in range(3):
        store.time_ms += LEASE_MS - 1
        with pytest.raises(NodeTaken):
            await other.open()
        for name, _, renew in one.periodic_work():
            if name == "renew the lease":
                await renew()
    store.time_ms += LEASE_MS
    await other.open()
    await other.close()
    await one.close()
