"""Small functions for tests of the whole system, and for benchmarks."""

import math
import os
import subprocess
import time
from typing import Any

from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.config import CallbackConfig, Duration
from tests.system.ledger import Entry, write_down


@durable_step
def add_one(_step: StepContext, number: int) -> int:
    """Add one."""
    return number + 1


@durable_execution
def three_steps(event: int, context: DurableContext) -> int:
    """Run three steps, one after the other."""
    number = event
    for _ in range(3):
        number = context.step(add_one(number))
    return number


@durable_execution
def sleeper(event: dict[str, Any], context: DurableContext) -> str:
    """Wait for so many seconds."""
    context.wait(Duration.from_seconds(event["seconds"]), name="sleep")
    return "awake"


@durable_execution
def rising(event: float, context: DurableContext) -> str:
    """Wait until a time, by the clock on the wall, or at most a second longer."""
    left_s = max(1, math.ceil(event - time.time()))
    context.wait(Duration.from_seconds(left_s), name="sleep")
    return "awake"


@durable_execution
def nothing(event: Any, _context: DurableContext) -> Any:
    """Return the event."""
    return event


@durable_execution
def refusing(event: Any, _context: DurableContext) -> None:
    """Fail."""
    raise ValueError(f"not {event}")


@durable_execution
def asking(_event: Any, context: DurableContext) -> Any:
    """Wait for a callback, and return its result."""
    config = CallbackConfig(timeout=Duration.from_minutes(10))
    return context.create_callback(name="answer", config=config).result()


@durable_execution
def counted(event: str, context: DurableContext) -> str:
    """Write a line into the ledger, wait for a callback, and return its result."""

    def leave_a_line(step: StepContext) -> None:
        write_down(Entry(order=event, who="counted", what="runs", attempt=step.attempt))

    context.step(leave_a_line, name="count")
    answer: str = context.create_callback(name="answer").result()
    return answer


@durable_execution
def patient(event: str, context: DurableContext) -> None:
    """Run a long step until it is cancelled."""

    def work(step: StepContext) -> None:
        write_down(Entry(order=event, who="patient", what="begins"))
        while not step.cancelled:
            time.sleep(0.01)  # work
        write_down(Entry(order=event, who="patient", what="is cancelled"))
        step.raise_if_cancelled()

    context.step(work, name="work")


@durable_execution
def forking(event: int, context: DurableContext) -> list[int]:
    """Run programs in a step, one after the other; return their exit statuses."""

    def run_programs(_step: StepContext) -> list[int]:
        # A user given makes Python fork instead of taking a shortcut.
        programs = (subprocess.run(["true"], user=os.geteuid(), check=False) for _ in range(event))
        return [program.returncode for program in programs]

    return context.step(run_programs, name="run programs")
