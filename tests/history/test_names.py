"""The life of a name: who has it, and when another execution may take it over.

A name belongs to one execution from the moment that its start is acknowledged until its deletion
is, or until its retention is over. Whatever fails in between, an acknowledged start runs.
"""

import asyncio
from typing import Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_core.limits import EXECUTION_TIMEOUT_S_MAX
from perdure_core.refusals import NameTaken, NotEnded, Unknown
from perdure_history.settings import HistorySettings
from perdure_host.errors import StoreError
from perdure_host.services import StartRequest
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker
from tests.history.simulation import HostGone, Simulation, inside
from tests.store.faulty_store import Fate

DAY_MS: Final = 86_400_000
NAME: Final = "n"


def request(payload: str = "1", retention_days: int | None = None) -> StartRequest:
    return StartRequest(
        namespace="default",
        function="order",
        name=NAME,
        input=payload,
        timeout_s=EXECUTION_TIMEOUT_S_MAX,
        retention_days=retention_days,
    )


@pytest.mark.parametrize("payload", ["1", "2"])
async def test_the_name_of_a_deleted_execution_is_free_before_any_sweep(payload: str) -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start(NAME, input="1")
        await (await worker.take()).complete("SUCCEEDED")
        await simulation.history.commands.delete(arn)
        again = await simulation.history.commands.start(request(payload))
        assert again.started
        assert again.arn != arn
        with pytest.raises(Unknown):
            await simulation.history.queries.describe(arn)
        await (await worker.take()).complete("SUCCEEDED")
        await simulation.pass_ms(10_000)
        assert (await simulation.history.queries.describe(again.arn)).status == "SUCCEEDED"
        assert list(inside(simulation.memory)._records) == [row.key for row in simulation.rows()]


async def test_the_deletion_of_what_expires_soon_frees_its_name_too() -> None:
    """Nothing is recorded of that deletion."""
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start(NAME, input="1", retention_days=1)
        await (await worker.take()).complete("SUCCEEDED")
        simulation.clock.advance(DAY_MS - 30_000)
        await simulation.history.commands.delete(arn)
        assert (await simulation.history.commands.start(request())).started


async def test_an_execution_past_its_retention_gives_way_before_it_is_swept() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        await simulation.start(NAME, input="1", retention_days=1)
        await (await worker.take()).complete("SUCCEEDED")
        simulation.clock.advance(DAY_MS)
        again = await simulation.history.commands.start(request("2"))
        assert again.started
        await simulation.pass_ms(10_000)
        assert (await simulation.history.queries.describe(again.arn)).status == "RUNNING"


async def test_who_reads_a_deleted_execution_while_its_name_is_taken_over_is_answered() -> None:
    async with Simulation(HistorySettings(cache_executions_max=1)) as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start(NAME)
        await (await worker.take()).complete("SUCCEEDED")
        await simulation.history.commands.delete(arn)
        await simulation.start("another")
        reading = asyncio.ensure_future(simulation.history.queries.describe(arn))
        again = await simulation.history.commands.start(request())
        assert again.started
        assert (await reading).status == "DELETING"


async def test_equal_starts_under_a_name_that_was_deleted_begin_one_execution() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start(NAME, input="1")
        await (await worker.take()).complete("SUCCEEDED")
        await simulation.history.commands.delete(arn)
        answers = await asyncio.gather(
            *(simulation.history.commands.start(request()) for _ in range(5))
        )
        assert [answer.started for answer in answers].count(True) == 1
        assert len({answer.arn for answer in answers}) == len(simulation.rows()) == 1


FATES: Final[tuple[Fate, ...]] = ("refused", "unknown_written", "unknown_lost", "unknown_late")
ACTIONS: Final = st.sampled_from(
    [
        *("start 1", "start 1", "start 2", "end", "delete", "end and delete", "end and delete"),
        *("sweep", "expire", "nearly expire", "crash", "cut before", "cut after"),
        *FATES,
    ]
)


class Client:
    """Someone who uses one name, and knows no more than was answered."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.worker = ManualWorker(simulation, slots=0)
        self.crashes = 0
        # Inputs by ARN, as acknowledged, and inputs of starts that were not answered.
        self.inputs: dict[str, str] = {}
        self.unanswered: set[str] = set()
        self.ended: set[str] = set()
        # Acknowledged deletions, and executions that may have gone: nobody knows.
        self.deleted: set[str] = set()
        self.maybe_gone: set[str] = set()

    async def perform(self, action: str) -> None:
        link = self.simulation.host.link
        match action.split():
            case ["start", payload]:
                await self.start(payload)
            case ["end" | "delete", *_]:
                for arn in self.present():
                    if "end" in action:
                        await self.end(arn)
                    if "delete" in action:
                        await self.delete(arn)
            case ["sweep"]:
                await self.simulation.pass_ms(5_000)
            case ["expire"]:
                self.simulation.clock.advance(DAY_MS)
                self.maybe_gone |= self.ended
            case ["nearly", "expire"]:
                self.simulation.clock.advance(DAY_MS - 30_000)
                self.maybe_gone |= self.ended
            case ["crash"]:
                await self.restart()
            case ["cut", when]:
                inside(link)._cut_at = (link.commits + 1, when)
            case _:
                link.script(cast("Fate", action))
        await settle()
        if self.simulation.host.link.is_cut:
            await self.restart()

    def present(self) -> list[str]:
        """Return the executions of which no deletion was acknowledged."""
        return [arn for arn in self.inputs if arn not in self.deleted]

    async def start(self, payload: str) -> None:
        try:
            host = self.simulation.host
            answer = await host.call(host.history.commands.start(request(payload, 1)))
        except (StoreError, HostGone):
            self.unanswered.add(payload)
            return
        except NameTaken:
            others = {self.inputs[arn] for arn in self.present()} | self.unanswered
            assert others - {payload}, "refused, though nobody else has the name"
            return
        known = answer.arn in self.inputs
        assert not (known and answer.started)
        assert known or answer.started or payload in self.unanswered
        assert answer.arn not in self.deleted, "answered with a deleted execution"
        assert self.inputs.setdefault(answer.arn, payload) == payload
        others = {arn for arn in self.present() if arn != answer.arn}
        assert others <= self.maybe_gone, "two executions have one name"
        self.deleted |= others
        self.unanswered.clear()

    async def end(self, arn: str) -> None:
        if self.simulation.host.is_down:
            return
        try:
            invocation = await self.worker.begin_for(arn)
            if invocation is not None:
                await invocation.complete("SUCCEEDED", '"done"')
                self.ended.add(arn)
        except StoreError:
            self.ended.add(arn)
        except Unknown:
            assert arn in self.maybe_gone

    async def delete(self, arn: str) -> None:
        try:
            host = self.simulation.host
            await host.call(host.history.commands.delete(arn))
        except (StoreError, HostGone):
            self.maybe_gone.add(arn)
        except NotEnded:
            return
        except Unknown:
            assert arn in self.maybe_gone
        else:
            self.deleted.add(arn)

    async def restart(self) -> None:
        await self.simulation.restart()
        self.crashes += 1
        self.simulation.workers.remove(self.worker)
        self.worker = ManualWorker(self.simulation, f"worker-{self.crashes}", slots=0)

    async def check(self) -> None:
        """What was acknowledged and not deleted has its input, and runs to its end."""
        await self.restart()
        await self.simulation.pass_ms(5_000)
        for arn in self.present():
            if arn not in self.maybe_gone:
                await self.end(arn)
                state = await self.simulation.history.queries.describe(arn)
                assert (state.status, state.input) == ("SUCCEEDED", self.inputs[arn])
        assert len(self.simulation.rows()) <= 1
        await self.simulation.pass_ms(5_000)
        stored = {row.key for row in self.simulation.rows()}
        assert set(inside(self.simulation.memory)._records) == stored


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, min_size=8, max_size=25))
def test_an_acknowledged_start_runs_whatever_became_of_those_before(actions: list[str]) -> None:
    async def live() -> None:
        async with Simulation() as simulation:
            client = Client(simulation)
            for action in actions:
                await client.perform(action)
            await client.check()

    asyncio.run(live())
