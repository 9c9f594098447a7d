"""Every scenario on a real server, whose workers are killed at every checkpoint."""

import asyncio
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from tests.conformance.all import SCENARIOS
from tests.conformance.live_mode import Attempt, live_server
from tests.conformance.run import Run, problem
from tests.conformance.session_proxy import Moment

# Side by side, on one worker.
ATTEMPTS_MAX: Final = 500


@pytest.mark.parametrize("form", ["blocking", "awaiting"])
@pytest.mark.timeout(300)
def test_a_live_server_agrees_whenever_its_workers_die(form: str, tmp_path: Path) -> None:
    runs = asyncio.run(play(form, tmp_path))
    found = "\n\n".join(problems(runs))
    assert not found, found
    for scenario in SCENARIOS.values():
        ends = {run.end for attempt, run in runs.items() if attempt.scenario is scenario}
        assert (len(ends) > 1) == (scenario.interrupted is not None), scenario.name


async def play(form: str, folder: Path) -> dict[Attempt, Run]:
    """Run every scenario whole, and once for each moment at which its worker may die.

    How many moments there are is not known before: timing may spread updates over more checkpoints
    than the whole run has made. So the attempt that was hit last is tried with one more.
    """
    wholes = [Attempt(each, getattr(each, form)) for each in SCENARIOS.values()]
    async with live_server(folder) as live:
        runs = await live.run(wholes)
        todo = [*chain.from_iterable(deaths(whole, runs[whole].checkpoints) for whole in wholes)]
        while todo:
            batch, todo = todo[:ATTEMPTS_MAX], todo[ATTEMPTS_MAX:]
            runs |= await live.run(batch)
            further = chain.from_iterable(one_more(each) for each in batch if live.hit(each))
            todo += [each for each in dict.fromkeys(further) if each not in {*runs, *todo}]
    return runs


def deaths(whole: Attempt, checkpoints: int) -> Iterator[Attempt]:
    """Yield the attempts whose workers die around each checkpoint, and around one too many."""
    for number in range(1, checkpoints + 2):
        yield from deaths_around(whole, number)


def one_more(attempt: Attempt) -> Iterator[Attempt]:
    """Yield the attempts whose workers die around the checkpoint after that of this attempt."""
    assert attempt.moment is not None
    yield from deaths_around(attempt, attempt.moment.checkpoint + 1)


def deaths_around(attempt: Attempt, number: int) -> Iterator[Attempt]:
    """Yield the attempts whose workers die right before and right after a checkpoint."""
    for accepted in (False, True):
        yield Attempt(attempt.scenario, attempt.function, Moment(number, accepted))


def problems(runs: dict[Attempt, Run]) -> Iterator[str]:
    """Yield the problems of the runs."""
    for attempt, run in runs.items():
        crashed = attempt.moment is not None
        if (found := problem(attempt.scenario, run, crashed=crashed)) is not None:
            yield f"{attempt.key}:\n{found}"
