"""Steps: succeeded, retried, failed for good, interrupted."""

from perdure import AsyncDurableContext, StepContext, StepError
from perdure.config import Duration, StepConfig, StepSemantics
from tests.conformance.scenario import End, expected, scenario
from tests.conformance.scenarios.bodies import failing, flaky, never, once_more, soon

AT_MOST_ONCE = StepSemantics.AT_MOST_ONCE_PER_RETRY


class TooMany(Exception):
    """An error with a `Retry-After` hint."""

    retry_after = 0.123


@scenario(
    End.succeeded([{"answer": 42}, None]),
    """
    1 StepStarted 'ask'
    1 StepSucceeded 'ask' · = {"t":"m","v":{"answer":{"t":"i","v":42}}} · attempt 1
    2 StepStarted
    2 StepSucceeded · = null · attempt 1
    """,
)
async def step_succeeds(context: AsyncDurableContext) -> object:
    async def ask(_: StepContext) -> dict[str, int]:
        return {"answer": 42}

    return [await context.step(ask, "ask"), await context.step(lambda _: None)]


@scenario(
    End.succeeded(3),
    """
    1 StepStarted 'flaky'
    1 StepFailed 'flaky' · OSError: flaky · attempt 1 · again in 50 ms
    1 StepStarted 'flaky'
    1 StepFailed 'flaky' · OSError: flaky · attempt 2 · again in 50 ms
    1 StepStarted 'flaky'
    1 StepSucceeded 'flaky' · = 3 · attempt 3
    """,
)
async def step_is_tried_again(context: AsyncDurableContext) -> int:
    return await context.step(flaky(2), "flaky", StepConfig(soon))


@scenario(
    End.succeeded(2),
    """
    1 StepStarted 'asked to wait'
    1 StepFailed 'asked to wait' · tests.conformance.scenarios.steps.TooMany:  · attempt 1
    · again in 123 ms
    1 StepStarted 'asked to wait'
    1 StepSucceeded 'asked to wait' · = 2 · attempt 2
    """,
)
async def step_waits_as_long_as_its_failure_asks(context: AsyncDurableContext) -> int:
    def body(step: StepContext) -> int:
        if step.attempt == 1:
            raise TooMany
        return step.attempt

    return await context.step(body, "asked to wait", StepConfig(soon))


@scenario(
    End.succeeded(2),
    """
    1 StepStarted 'in time'
    1 StepFailed 'in time' · OSError: flaky · attempt 1 · again in 50 ms
    1 StepStarted 'in time'
    1 StepSucceeded 'in time' · = 2 · attempt 2
    """,
)
async def step_ends_in_time(context: AsyncDurableContext) -> int:
    config = StepConfig(soon, timeout=Duration.from_hours(1))
    return await context.step(flaky(1), "in time", config)


@scenario(
    End.succeeded({"done": 17}),
    """
    1 StepStarted 'long'
    1 StepFailed 'long' · OSError: in the middle · attempt 1 · again in 50 ms
    1 StepStarted 'long'
    1 StepSucceeded 'long' · = {"t":"m","v":{"done":{"t":"i","v":17}}} · attempt 2
    """,
)
async def step_tells_its_next_attempt_how_far_it_came(context: AsyncDurableContext) -> object:
    def body(step: StepContext) -> object:
        if step.attempt == 1:
            step.heartbeat({"done": 17})
            raise OSError("in the middle")
        return step.heartbeat_details

    config = StepConfig(soon, heartbeat_timeout=Duration.from_hours(1))
    return await context.step(body, "long", config)


@scenario(
    End.failed("perdure.exceptions.StepError", "out of order"),
    """
    1 StepStarted 'failing'
    1 StepFailed 'failing' · ValueError: out of order · attempt 1 · again in 50 ms
    1 StepStarted 'failing'
    1 StepFailed 'failing' · ValueError: out of order · attempt 2
    """,
)
async def step_fails_for_good(context: AsyncDurableContext) -> None:
    await context.step(failing("out of order"), "failing", StepConfig(once_more))


@scenario(
    End.succeeded(["out of order", "went on"]),
    """
    1 StepStarted 'failing'
    1 StepFailed 'failing' · ValueError: out of order · attempt 1
    2 StepStarted 'after it'
    2 StepSucceeded 'after it' · = "went on" · attempt 1
    """,
)
async def step_failure_is_caught(context: AsyncDurableContext) -> list[object]:
    try:
        await context.step(failing("out of order"), "failing", StepConfig(never))
    except StepError as error:
        return [error.message, await context.step(lambda _: "went on", "after it")]
    return []


@scenario(
    End.succeeded(["done", "done"]),
    """
    1 StepStarted 'once 0'
    1 StepSucceeded 'once 0' · = "done" · attempt 1
    2 StepStarted 'once 1'
    2 StepSucceeded 'once 1' · = "done" · attempt 1
    """,
)
async def at_most_once_step_is_tried_again_after_a_crash(context: AsyncDurableContext) -> list[str]:
    config = StepConfig(soon, AT_MOST_ONCE)
    return [await context.step(lambda _: "done", f"once {number}", config) for number in range(2)]


@scenario(
    End.succeeded("done"),
    """
    1 StepStarted 'once'
    1 StepSucceeded 'once' · = "done" · attempt 1
    """,
    interrupted=expected(
        End.succeeded("nobody knows"),
        """
    1 StepStarted 'once'
    1 StepFailed 'once' · StepInterruptedError: STEP (Step) 'once' was interrupted in attempt 1.
    · attempt 1
    """,
    ),
)
async def at_most_once_step_is_given_up_after_a_crash(context: AsyncDurableContext) -> str:
    try:
        return await context.step(lambda _: "done", "once", StepConfig(never, AT_MOST_ONCE))
    except StepError:
        return "nobody knows"
