"""An execution with very many steps: the last cost as much as the first, and it wakes at once."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import psutil
import pytest

from perdure.client import Client
from perdure_core.limits import OPERATIONS_MAX
from tests.system.processes import ROOT, Machine, Running, wait_until

PROGRAM: Final = ROOT / "tests" / "system" / "long_program.py"
# 50,000 take a few minutes; the cost of a step shows in fewer, too. With the wait and the last step
# they are at most OPERATIONS_MAX.
STEPS: Final = int(os.environ.get("PERDURE_TEST_LONG_STEPS", "4000"))
SLEEP_S: Final = 5
POLL_S: Final = 0.25
# At most so many seconds for each step, on however busy a machine.
STEP_S_MAX: Final = 0.02
# Steps before these do not count: caches fill, and both processes warm up.
WARM: Final = STEPS // 20
WINDOW: Final = STEPS // 5
GROWTH_MAX: Final = 1.5
LATE_S_MAX: Final = 10.0


@dataclass(frozen=True)
class Look:
    """How many steps were done, and the processor's time that server and worker had taken."""

    steps: float
    cpu_s: float


@pytest.mark.slow
@pytest.mark.timeout(60 + STEPS * STEP_S_MAX)
def test_steps_cost_the_same_however_many_came_before(
    machine: Machine, record_property: Callable[[str, object], None]
) -> None:
    assert STEPS <= OPERATIONS_MAX - 2
    server = machine.start_server()
    worker = machine.start_worker(PROGRAM)
    machine.wait_for_worker("long")
    with machine.client() as client:
        event = {"steps": STEPS, "sleep_s": SLEEP_S}
        arn = client.start("long", event).execution_arn
        looks = watch_steps(machine, server, worker)
        wait_until(lambda: client.get(arn).waiting_for == "timer", "it sleeps")
        machine.kill("server")
        machine.start_server()
        serving_ms = int(time.time() * 1_000)
        assert client.result(arn, timeout_s=STEPS * STEP_S_MAX) == STEPS + 1
        woken_s, awake_s = lateness(client, arn, serving_ms)
    early = cost_ms(looks, WARM, WARM + WINDOW)
    late = cost_ms(looks, STEPS - WINDOW, STEPS)
    record_property(
        "figures",
        f"{STEPS:,} steps: the first {early:.2f} ms of CPU each, the last {late:.2f} ms, server "
        f"and worker; woken {woken_s:.2f} s late after a restart, at work {awake_s:.2f} s late",
    )
    assert late < early * GROWTH_MAX
    assert 0 <= woken_s < LATE_S_MAX


def watch_steps(machine: Machine, *processes: Running) -> Sequence[Look]:
    """Look at the costs until all steps are done."""
    watched = [psutil.Process(process.pid) for process in processes]
    looks: list[Look] = []
    until_s = time.monotonic() + STEPS * STEP_S_MAX
    while not looks or looks[-1].steps < STEPS:
        assert time.monotonic() < until_s, f"only {looks[-1].steps:,.0f} steps in time"
        machine.check()
        steps = machine.metrics().value("perdure_steps_total", outcome="succeeded")
        spent = [process.cpu_times() for process in watched]
        looks.append(Look(steps, sum(each.user + each.system for each in spent)))
        time.sleep(POLL_S)
    return looks


def cost_ms(looks: Sequence[Look], first: int, last: int) -> float:
    """Return the processor's milliseconds for each step between the looks nearest to two steps."""
    began = min(looks, key=lambda look: abs(look.steps - first))
    ended = min(looks, key=lambda look: abs(look.steps - last))
    return (ended.cpu_s - began.cpu_s) * 1_000 / (ended.steps - began.steps)


def lateness(client: Client, arn: str, serving_ms: int) -> tuple[float, float]:
    """Return how late the wait ended, and the step after it, once due and served."""
    events = [*islice(client.history(arn, newest_first=True), 9)]
    newest = {event.event_type: event for event in reversed(events)}
    due_ms = newest["WaitStarted"].wire.scheduled_end_timestamp.ToMilliseconds()
    woken_ms, awake_ms = (
        newest[kind].wire.event_timestamp.ToMilliseconds()
        for kind in ("WaitSucceeded", "StepSucceeded")
    )
    assert woken_ms >= due_ms
    begin_ms = max(due_ms, min(serving_ms, woken_ms))
    return (woken_ms - begin_ms) / 1_000, (awake_ms - begin_ms) / 1_000
