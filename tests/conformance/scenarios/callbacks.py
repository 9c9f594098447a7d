"""Callbacks: completed, failed, forgotten, and those whose ids a step hands out."""

from perdure import (
    AsyncDurableContext,
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    StepContext,
)
from perdure.config import CallbackConfig, Duration, StepConfig, WaitForCallbackConfig
from perdure.types import WaitForCallbackContext
from tests.conformance.scenario import Answer, End, Heartbeat, Refusal, scenario
from tests.conformance.scenarios.bodies import once_more, soon

SUBMITTED = "ask create callback id"


async def hand_out(_callback_id: str, _context: WaitForCallbackContext) -> None:
    """Do nothing: the test completes the open callback."""


@scenario(
    End.succeeded(["meanwhile", '{"yes": true}']),
    """
    1 CallbackStarted 'ask'
    2 StepStarted 'meanwhile'
    2 StepSucceeded 'meanwhile' · = "meanwhile" · attempt 1
    1 CallbackSucceeded 'ask' · = {"yes": true}
    """,
    acts=(Answer("ask", '{"yes": true}'),),
)
async def callback_is_answered(context: AsyncDurableContext) -> list[object]:
    callback = await context.create_callback("ask")
    meanwhile = await context.step(lambda _: "meanwhile", "meanwhile")
    return [meanwhile, await callback.result()]


@scenario(
    End.failed("perdure.exceptions.CallbackExternalError", "no"),
    """
    1 CallbackStarted 'ask'
    1 CallbackFailed 'ask' · Refused: no
    """,
    acts=(Refusal("ask", "Refused", "no"),),
)
async def callback_is_refused(context: AsyncDurableContext) -> object:
    callback = await context.create_callback("ask")
    return await callback.result()


@scenario(
    End.succeeded("too late"),
    """
    1 CallbackStarted 'ask' · timeout s 1
    1 CallbackTimedOut 'ask' · Callback.Timeout: Callback timed out
    """,
)
async def callback_times_out(context: AsyncDurableContext) -> object:
    callback = await context.create_callback("ask", CallbackConfig(timeout=Duration(1)))
    try:
        return await callback.result()
    except CallbackTimeoutError:
        return "too late"


@scenario(
    End.succeeded("dead"),
    """
    1 CallbackStarted 'ask' · timeout s 3600 · heartbeat s 1
    1 CallbackTimedOut 'ask' · Callback.Heartbeat: Callback timed out on heartbeat
    """,
)
async def callback_misses_its_heartbeat(context: AsyncDurableContext) -> object:
    config = CallbackConfig(timeout=Duration(3_600), heartbeat_timeout=Duration(1))
    callback = await context.create_callback("ask", config)
    try:
        return await callback.result()
    except CallbackTimeoutError:
        return "dead"


@scenario(
    End.succeeded("alive"),
    """
    1 CallbackStarted 'ask' · heartbeat s 600
    1 CallbackSucceeded 'ask' · = alive
    """,
    acts=(Heartbeat("ask"), Heartbeat("ask"), Answer("ask", "alive")),
)
async def callback_is_kept_alive(context: AsyncDurableContext) -> object:
    config = CallbackConfig(heartbeat_timeout=Duration(600))
    callback = await context.create_callback("ask", config)
    return await callback.result()


@scenario(
    End.succeeded(["yes", "after it"]),
    """
    1 ContextStarted 'ask' as WaitForCallback
    1-1 CallbackStarted 'ask create callback id'
    1-2 StepStarted 'ask submitter'
    1-2 StepSucceeded 'ask submitter' · = null · attempt 1
    1-1 CallbackSucceeded 'ask create callback id' · = yes
    1 ContextSucceeded 'ask' as WaitForCallback · = "yes"
    2 StepStarted 'after it'
    2 StepSucceeded 'after it' · = "after it" · attempt 1
    """,
    acts=(Answer(SUBMITTED, "yes"),),
)
async def submitted_callback_is_answered(context: AsyncDurableContext) -> list[object]:
    answer = await context.wait_for_callback(hand_out, "ask")
    return [answer, await context.step(lambda _: "after it", "after it")]


@scenario(
    End.succeeded("no"),
    """
    1 ContextStarted 'ask' as WaitForCallback
    1-1 CallbackStarted 'ask create callback id'
    1-2 StepStarted 'ask submitter'
    1-2 StepSucceeded 'ask submitter' · = null · attempt 1
    1-1 CallbackFailed 'ask create callback id' · Refused: no
    1 ContextFailed 'ask' as WaitForCallback · CallbackExternalError: no
    """,
    acts=(Refusal(SUBMITTED, "Refused", "no"),),
)
async def submitted_callback_is_refused(context: AsyncDurableContext) -> object:
    try:
        return await context.wait_for_callback(hand_out, "ask")
    except CallbackExternalError as error:
        return error.message


@scenario(
    End.succeeded("too late"),
    """
    1 ContextStarted 'ask' as WaitForCallback
    1-1 CallbackStarted 'ask create callback id' · timeout s 1
    1-2 StepStarted 'ask submitter'
    1-2 StepSucceeded 'ask submitter' · = null · attempt 1
    1-1 CallbackTimedOut 'ask create callback id' · Callback.Timeout: Callback timed out
    1 ContextFailed 'ask' as WaitForCallback · CallbackTimeoutError: Callback timed out
    """,
    meanwhile=("1-1",),
)
async def submitted_callback_times_out(context: AsyncDurableContext) -> object:
    config = WaitForCallbackConfig(timeout=Duration(1))
    try:
        return await context.wait_for_callback(hand_out, "ask", config)
    except CallbackTimeoutError:
        return "too late"


@scenario(
    End.succeeded("nobody to ask"),
    """
    1 ContextStarted 'ask' as WaitForCallback
    1-1 CallbackStarted 'ask create callback id'
    1-2 StepStarted 'ask submitter'
    1-2 StepFailed 'ask submitter' · OSError: nobody to ask · attempt 1 · again in 50 ms
    1-2 StepStarted 'ask submitter'
    1-2 StepFailed 'ask submitter' · OSError: nobody to ask · attempt 2
    1 ContextFailed 'ask' as WaitForCallback · StepError: nobody to ask
    """,
)
async def submitter_fails_for_good(context: AsyncDurableContext) -> object:
    def fail(_callback_id: str, _context: WaitForCallbackContext) -> None:
        raise OSError("nobody to ask")

    try:
        return await context.wait_for_callback(
            fail, "ask", WaitForCallbackConfig(retry_strategy=once_more)
        )
    except CallbackSubmitterError as error:
        return error.message


@scenario(
    End.succeeded(["yes", 2]),
    """
    1 CallbackStarted 'ask'
    2 StepStarted 'hand out'
    2 StepFailed 'hand out' · OSError: not now · attempt 1 · again in 50 ms
    1 CallbackSucceeded 'ask' · = yes
    2 StepStarted 'hand out'
    2 StepSucceeded 'hand out' · = 2 · attempt 2
    """,
    acts=(Answer("ask", "yes"),),
    meanwhile=("1",),
)
async def callback_id_is_handed_out_at_the_second_try(
    context: AsyncDurableContext,
) -> list[object]:
    callback = await context.create_callback("ask")

    async def hand_it_out(step: StepContext) -> int:
        assert callback.callback_id
        if step.attempt == 1:
            raise OSError("not now")
        return step.attempt

    attempt = await context.step(hand_it_out, "hand out", StepConfig(soon))
    return [await callback.result(), attempt]
