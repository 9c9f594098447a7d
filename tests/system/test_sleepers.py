"""Executions that sleep cost nothing but rows, and a server with many of them starts at once."""

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from benchmarks.sleepers import measure
from tests.system.processes import Machine

# As many as the caches take, and as many more as show what one beyond them costs.
FIRST: Final = 10_000
FURTHER: Final = 6_000
CACHED_MAX: Final = 10_000
SERVING_CPU_S_MAX: Final = 5.0
LOADED_BYTES_MAX: Final = 20_000_000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sleepers_cost_no_memory_beyond_the_caches_and_no_time_at_start(
    machine: Machine, record_property: Callable[[str, object], None]
) -> None:
    figures = asyncio.run(measure(machine, FIRST, FURTHER))
    record_property("figures", figures.report())
    assert figures.cached <= CACHED_MAX
    # The first fill the caches; the others cost what is left to the allocator's taste.
    assert figures.memory_per_sleeper < figures.memory_per_cached / 2
    # After a restart nothing of them is in memory.
    assert figures.memory_restarted < figures.memory_empty + LOADED_BYTES_MAX
    assert figures.completed_cpu_s < SERVING_CPU_S_MAX
