"""Changes that contradict what is stored: each fails alone, and the node goes on."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from perdure_core.refusals import Quarantined
from perdure_host.errors import ChangeRefused
from perdure_host.ports import ExecutionKey
from perdure_host.services import CheckpointAnswer, key_of
from tests.history.manual_clock import settle
from tests.history.manual_worker import ManualWorker
from tests.history.simulation import Simulation, inside


def rows_of(simulation: Simulation) -> dict[ExecutionKey, Any]:
    rows: dict[ExecutionKey, Any] = inside(simulation.memory)._rows
    return rows


def move_on(simulation: Simulation, arn: str) -> None:
    """Give the execution's row another number, as damage or another program would."""
    rows, key = rows_of(simulation), key_of(arn)
    rows[key] = msgspec.structs.replace(rows[key], sequence=rows[key].sequence + 7)


def move_back(simulation: Simulation, arn: str) -> None:
    rows, key = rows_of(simulation), key_of(arn)
    rows[key] = msgspec.structs.replace(rows[key], sequence=rows[key].sequence - 7)


async def test_a_change_that_is_refused_fails_alone() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arns = [await simulation.start(name) for name in ("bad", "good")]
        bad, good = [await worker.take(), await worker.take()]
        reloads: list[None] = []
        inside(simulation.history)._executions.on_reload.append(lambda: reloads.append(None))
        move_on(simulation, arns[0])
        link = simulation.host.link
        link.gate.clear()
        steps = [asyncio.ensure_future(each.step("a")) for each in (bad, good)]
        await settle()
        # Decided over the refused change, so it fails with it although its own commit is later.
        stop = asyncio.ensure_future(simulation.history.commands.stop(arns[0], None))
        await settle()
        link.gate.set()
        calls: list[Awaitable[object]] = [*steps, stop]
        results: list[object] = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [
            ChangeRefused,
            CheckpointAnswer,
            ChangeRefused,
        ]
        assert key_of(arns[0]).execution_id in str(results[0])
        assert "MOVED_EXECUTIONS" in str(results[0])
        await good.step("b")
        assert reloads == []
        assert not simulation.history.fatal.done()
        failures = simulation.metrics.registry.get_sample_value
        assert failures("perdure_commit_failures_total", {"kind": "refused"}) == 1
        assert failures("perdure_commit_failures_total", {"kind": "unavailable"}) == 0
        move_back(simulation, arns[0])


async def test_what_waits_for_a_refused_change_is_told() -> None:
    async with Simulation() as simulation:
        worker = ManualWorker(simulation)
        arn = await simulation.start("n")
        await worker.take()
        move_on(simulation, arn)
        with pytest.raises(ChangeRefused):
            await simulation.history.commands.pause(arn, reason=None, timeout_paused=True)
        move_back(simulation, arn)
        # Its state was read again, so what was refused is not in it.
        assert (await simulation.history.queries.describe(arn)).status == "RUNNING"
        await simulation.history.commands.stop(arn, None)


async def test_an_execution_whose_changes_are_refused_again_is_set_aside() -> None:
    async with Simulation() as simulation:
        arn = await simulation.start("n")
        records = inside(simulation.memory)._records[key_of(arn)]
        # A record that the row does not know of: what is loaded is whole, and cannot go on.
        surplus = msgspec.structs.replace(records[0], sequence=2)
        stop = simulation.history.commands.stop
        records.append(surplus)
        stored = inside(simulation.host.link.inner).load

        async def load(key: ExecutionKey) -> Any:
            found = await stored(key)
            return msgspec.structs.replace(found, records=found.records[: found.row.sequence])

        inside(simulation.host.link).load = load
        for refusal in (ChangeRefused, ChangeRefused, Quarantined, Quarantined):
            with pytest.raises(refusal):
                await stop(arn, None)
        records.remove(surplus)
        inside(simulation.history)._executions.quarantine.release(key_of(arn))
        await stop(arn, None)


async def test_a_name_is_free_again_after_its_start_was_refused() -> None:
    async with Simulation() as simulation:
        link = simulation.host.link
        link.gate.clear()
        starting = asyncio.ensure_future(simulation.start("n"))
        await settle()
        (change,) = inside(simulation.history)._executions.committer._in_flight.changes.values()
        names = inside(simulation.memory)._keys
        name = next(iter(inside(simulation.history.commands)._starting))
        names[name] = ExecutionKey(change.row.key.bucket, "0" * 32)
        link.gate.set()
        with pytest.raises(ChangeRefused):
            await starting
        del names[name]
        await simulation.start("n")
