"""A wall clock that is set while workers are connected: no worker is taken for silent."""

import pytest

from perdure_host.clock import SteadyClock, WallClock
from tests.gateway.serving import Peer, run, serving, start_request

DAY_MS = 86_400_000


class SettableClock(WallClock):
    """This machine's clocks, with a wall clock that a test sets."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


@pytest.mark.parametrize("ahead_ms", [61_000, DAY_MS, -DAY_MS])
def test_no_worker_and_no_invocation_is_lost_when_the_wall_clock_is_set(ahead_ms: int) -> None:
    async def main() -> None:
        machine = SettableClock()
        async with serving(clock=SteadyClock(machine)) as served:
            peer = await Peer.connect(served, credit=1)
            await served.executions.StartExecution(start_request())
            invocation = await peer.invocation()
            machine.ahead_ms = ahead_ms
            await served.registry.close_expired()
            await served.history.invocations.record_silent_lost()
            assert await peer.heartbeat(invocation.invocation_id) == []

    run(main)
