"""Executions that sleep cost nothing but rows, and a server with many of them starts at once."""

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from benchmarks.sleepers import measure
from tests.system.processes import Machine

COUNT: Final = 20_000
CACHED_MAX: Final = 10_000
SERVING_CPU_S_MAX: Final = 5.0
LOADED_BYTES_MAX: Final = 20_000_000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_20_000_sleepers_cost_no_memory_beyond_the_caches_and_no_time_at_start(
    machine: Machine, record_property: Callable[[str, object], None]
) -> None:
    figures = asyncio.run(measure(machine, COUNT))
    record_property("figures", figures.report())
    assert figures.cached <= CACHED_MAX
    # The first half fills the caches; the second costs what is left to the allocator's taste.
    cache = figures.memory_half - figures.memory_empty
    assert figures.memory_full - figures.memory_half < cache / 2
    # After a restart nothing of them is in memory.
    assert figures.memory_restarted < figures.memory_empty + LOADED_BYTES_MAX
    assert figures.completed_cpu_s < SERVING_CPU_S_MAX
