"""Durability under kill -9: no acknowledged commit is lost, none is written in part."""

import random
import subprocess
import sys
from pathlib import Path

from perdure_host.ports import Alarm, Store
from tests.store.endless_writer import NUMBERS
from tests.store.scenes import Place, key

ROOT = Path(__file__).parents[2]
KILLS = 6


async def test_everything_acknowledged_survives_kill_9(sql_place: Place) -> None:
    dice = random.Random(sql_place.url.partition(":")[0])
    acknowledged = 0
    for _ in range(KILLS):
        before = acknowledged
        acknowledged = write_and_kill(sql_place.url, lines=dice.randint(1, 60))
        assert acknowledged > before
        # Joining waits for what the dead writer may still have under way.
        async with sql_place.joined() as (store, _):
            # At most the one commit whose acknowledgement the kill swallowed may be there, too.
            assert await last_whole_commit(store) in (acknowledged, acknowledged + 1)


def write_and_kill(url: str, lines: int) -> int:
    """Return the last number that the writer has printed when it was killed."""
    command = [sys.executable, "-m", "tests.store.endless_writer", url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        seen = [writer.stdout.readline() for _ in range(lines)]
        writer.kill()
        # The last line may be torn.
        seen += [line for line in writer.stdout if line.endswith("\n")]
    return int(seen[-1])


async def last_whole_commit(store: Store) -> int:
    alarms = await store.alarms(until_ms=10**9, after=None, limit=9)
    sequence = alarms[0].due_ms
    assert alarms == [Alarm(sequence, key(number)) for number in NUMBERS]
    for number in NUMBERS:
        found = await store.load(key(number))
        assert found is not None
        assert found.row.sequence == sequence
        assert [record.sequence for record in found.records] == list(range(1, sequence + 1))
    letters = await store.outbox(after=None, limit=10**6)
    assert len(letters) == len(NUMBERS) * (sequence - 1)
    assert await store.count_status_events(limit=10**6) == len(NUMBERS) * (sequence - 1)
    return sequence
