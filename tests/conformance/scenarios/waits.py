"""Waits: one after the other, beside other things, and cancelled."""

from perdure import AsyncDurableContext, WaitCancelledError
from perdure.config import Duration
from tests.conformance.scenario import End, scenario
from tests.conformance.scenarios.bodies import TICK


@scenario(
    End.succeeded(None),
    """
    1 WaitStarted 'nap' · ms 50
    1 WaitSucceeded 'nap' · ms 50
    """,
)
async def wait_lets_time_pass(context: AsyncDurableContext) -> None:
    await context.wait(TICK, "nap")


@scenario(
    End.succeeded("awake"),
    """
    1 WaitStarted · ms 50
    1 WaitSucceeded · ms 50
    2 StepStarted 'get up'
    2 StepSucceeded 'get up' · = "up" · attempt 1
    3 WaitStarted 'coffee' · ms 50
    3 WaitSucceeded 'coffee' · ms 50
    """,
)
async def waits_follow_each_other(context: AsyncDurableContext) -> str:
    await context.wait(TICK)
    await context.step(lambda _: "up", "get up")
    await context.wait(TICK, "coffee")
    return "awake"


@scenario(
    End.succeeded("done"),
    """
    1 WaitStarted 'nap' · ms 50
    2 StepStarted 'work'
    2 StepSucceeded 'work' · = "done" · attempt 1
    1 WaitSucceeded 'nap' · ms 50
    """,
    meanwhile=("1",),
)
async def created_wait_passes_beside_other_things(context: AsyncDurableContext) -> str:
    nap = await context.create_wait(TICK, "nap")
    done = await context.step(lambda _: "done", "work")
    await nap.result()
    return done


@scenario(
    End.succeeded([True, "cancelled"]),
    """
    1 WaitStarted 'deadline' · ms 86400000
    2 StepStarted 'work'
    2 StepSucceeded 'work' · = "done" · attempt 1
    1 WaitCancelled 'deadline'
    """,
)
async def created_wait_is_cancelled(context: AsyncDurableContext) -> list[object]:
    deadline = await context.create_wait(Duration.from_days(1), "deadline")
    await context.step(lambda _: "done", "work")
    cancelled = await deadline.cancel()
    try:
        await deadline.result()
    except WaitCancelledError:
        return [cancelled, "cancelled"]
    return [cancelled, "over"]


@scenario(
    End.succeeded(False),
    """
    1 WaitStarted 'nap' · ms 50
    2 WaitStarted 'longer' · ms 150
    1 WaitSucceeded 'nap' · ms 50
    2 WaitSucceeded 'longer' · ms 150
    """,
    meanwhile=("1",),
)
async def created_wait_is_cancelled_too_late(context: AsyncDurableContext) -> bool:
    nap = await context.create_wait(TICK, "nap")
    await context.wait(Duration(milliseconds=3 * TICK.milliseconds), "longer")
    await nap.result()
    return await nap.cancel()
