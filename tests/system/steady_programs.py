"""A function whose one step lasts until a file appears, and that leaves a line when it begins."""

import time
from pathlib import Path

from perdure import DurableContext, StepContext, durable_execution
from perdure.config import StepConfig, StepSemantics
from tests.system.ledger import Entry, write_down
from tests.system.processes import POLL_S

ONCE = StepConfig(step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)


@durable_execution
def steady(event: dict[str, str], context: DurableContext) -> str:
    """Wait for the file `until`, at most once or again after a loss, as `semantics` says."""

    def last(_: StepContext) -> str:
        write_down(Entry(order=event["order"], who="steady", what="begins"))
        while not Path(event["until"]).exists():
            time.sleep(POLL_S)
        return "lasted"

    once = event["semantics"] == "at most once"
    result: str = context.step(last, name="last", config=ONCE if once else None)
    return result
