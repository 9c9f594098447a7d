"""Steps that take long, hang and die, for tests of the whole system."""

import threading
from typing import Any

from perdure import DurableContext, ParallelBranch, StepContext, StepError, durable_execution
from perdure.config import Duration, StepConfig
from perdure.retries import RetryPresets
from tests.system.ledger import Entry, write_down

# It is never released: a thread that waits for it hangs in C code.
_HELD = threading.Lock()
_HELD.acquire()


@durable_execution
def hanging(_event: Any, context: DurableContext) -> str | None:
    """Hang in a step; return the type of its error."""

    def hang(_step: StepContext) -> None:
        _HELD.acquire()

    settings = StepConfig(
        retry_strategy=RetryPresets.none(), timeout=Duration.from_milliseconds(200)
    )
    try:
        context.step(hang, "hang", settings)
    except StepError as error:
        return error.error_type
    return None


@durable_execution
def importing(_event: Any, context: DurableContext) -> Any:
    """Send heartbeats with progress beside another step; continue from there after a crash.

    The first run goes on until it is killed.
    """
    reported = threading.Event()

    def copy(step: StepContext) -> Any:
        if step.heartbeat_details is not None:
            return step.heartbeat_details
        step.heartbeat({"row": 7})
        reported.set()
        while True:
            step.raise_if_cancelled()

    def wait_reported(_step: StepContext) -> bool:
        return reported.wait(60)

    def copying(branch: DurableContext) -> Any:
        return branch.step(copy, "copy")

    def waiting(branch: DurableContext) -> Any:
        return branch.step(wait_reported, "reported")

    branches = [ParallelBranch[Any](copying), ParallelBranch[Any](waiting)]
    return context.parallel(branches, "both").get_results()[0]


@durable_execution
def dying(_event: Any, context: DurableContext) -> str | None:
    """Run a step until it is killed; return the type of its last error."""

    def work(step: StepContext) -> None:
        write_down(Entry(order="1", who="dying", what="begins"))
        while not step.cancelled:
            pass

    settings = StepConfig(retry_strategy=RetryPresets.none(), timeout=Duration(1))
    try:
        context.step(work, "work", settings)
    except StepError as error:
        return error.error_type
    return None
