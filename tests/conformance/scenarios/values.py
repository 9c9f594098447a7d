"""Times, identifiers and random values: the same ones whenever the handler is replayed."""

from datetime import timedelta

from perdure import AsyncDurableContext
from perdure.config import StepConfig
from tests.conformance.facts import CHANCE
from tests.conformance.scenario import End, scenario
from tests.conformance.scenarios.bodies import TICK


@scenario(
    End.succeeded([True, True]),
    """
    1 StepStarted 'first' as Now
    1 StepSucceeded 'first' as Now · attempt 1
    2 StepStarted 'seen' as Chance
    2 StepSucceeded 'seen' as Chance · attempt 1
    3 WaitStarted · ms 50
    3 WaitSucceeded · ms 50
    4 StepStarted as Now
    4 StepSucceeded as Now · attempt 1
    """,
)
async def values_are_found_again(context: AsyncDurableContext) -> list[bool]:
    first = await context.now("first")
    drawn = [first.isoformat(), str(context.uuid()), str(context.uuid()), context.random().random()]
    seen = await context.step(lambda _: drawn, "seen", StepConfig(sub_type=CHANCE))
    await context.wait(TICK)
    later = await context.now() - first
    return [seen == drawn, later >= timedelta(milliseconds=TICK.milliseconds)]
