"""Race, any_of and all_of: one value of several branches, and the others cancelled."""

from typing import Any

from perdure import AnyOfError, AsyncDurableContext, ChildContextError, ParallelBranch
from perdure.config import BranchesConfig, Duration
from tests.conformance.scenario import Answer, End, scenario
from tests.conformance.scenarios.bodies import TICK


async def never(context: AsyncDurableContext) -> str:
    """Wait longer than any of these scenarios takes."""
    await context.wait(Duration.from_days(1), "never")
    return "never"


async def tick(context: AsyncDurableContext) -> str:
    """Wait for a moment."""
    await context.wait(TICK, "tick")
    return "tick"


async def failing(context: AsyncDurableContext) -> str:
    """Wait for a moment, and fail."""
    await context.wait(TICK, "tick")
    raise LookupError("no")


async def ask(context: AsyncDurableContext) -> Any:
    """Wait for a callback."""
    return await context.wait_for_callback(lambda _id, _context: None, "ask")


@scenario(
    End.succeeded("tick"),
    """
    1 ContextStarted 'race' as Race
    1-0 ContextStarted 'race-branch-0' as RaceBranch
    1-0-1 WaitStarted 'never' · ms 86400000
    1-0-1 WaitCancelled 'never'
    1-1 ContextStarted 'race-branch-1' as RaceBranch
    1-1-1 WaitStarted 'tick' · ms 50
    1-1-1 WaitSucceeded 'tick' · ms 50
    1-1 ContextSucceeded 'race-branch-1' as RaceBranch · = "tick"
    1 ContextSucceeded 'race' as Race · = "tick"
    """,
    abandoned=("1-0",),
)
async def race_takes_the_first_end(context: AsyncDurableContext) -> str:
    return await context.race([never, tick], "race")


@scenario(
    End.succeeded(["yes", "tick"]),
    """
    1 ContextStarted 'answer or deadline' as Race
    1-0 ContextStarted 'race-branch-0' as RaceBranch
    1-0-1 ContextStarted 'ask' as WaitForCallback
    1-0-1-1 CallbackStarted 'ask create callback id'
    1-0-1-2 StepStarted 'ask submitter'
    1-0-1-2 StepSucceeded 'ask submitter' · = null · attempt 1
    1-0-1-1 CallbackSucceeded 'ask create callback id' · = yes
    1-0-1 ContextSucceeded 'ask' as WaitForCallback · = "yes"
    1-0 ContextSucceeded 'race-branch-0' as RaceBranch · = "yes"
    1-1 ContextStarted 'deadline' as RaceBranch
    1-1-1 WaitStarted 'never' · ms 86400000
    1-1-1 WaitCancelled 'never'
    1 ContextSucceeded 'answer or deadline' as Race · = "yes"
    2 WaitStarted 'tick' · ms 50
    2 WaitSucceeded 'tick' · ms 50
    """,
    acts=(Answer("ask create callback id", "yes"),),
)
async def race_is_against_a_deadline(context: AsyncDurableContext) -> list[str]:
    branches: list[Any] = [ask, ParallelBranch(never, "deadline")]
    answer: str = await context.race(branches, "answer or deadline")
    return [answer, await tick(context)]


@scenario(
    End.succeeded(["no", "LookupError"]),
    """
    1 ContextStarted as Race
    1-0 ContextStarted 'race-branch-0' as RaceBranch
    1-0-1 WaitStarted 'never' · ms 86400000
    1-0-1 WaitCancelled 'never'
    1-1 ContextStarted 'race-branch-1' as RaceBranch
    1-1-1 WaitStarted 'tick' · ms 50
    1-1-1 WaitSucceeded 'tick' · ms 50
    1-1 ContextFailed 'race-branch-1' as RaceBranch · LookupError: no
    1 ContextFailed as Race · LookupError: no
    """,
    abandoned=("1-0",),
)
async def race_raises_what_the_first_end_raised(context: AsyncDurableContext) -> list[Any]:
    try:
        return [await context.race([never, failing])]
    except ChildContextError as error:
        return [str(error), error.error_type]


@scenario(
    End.succeeded("tick"),
    """
    1 ContextStarted 'any' as AnyOf
    1-0 ContextStarted 'any-of-branch-0' as AnyOfBranch
    1-0-1 WaitStarted 'tick' · ms 50
    1-0-1 WaitSucceeded 'tick' · ms 50
    1-0 ContextFailed 'any-of-branch-0' as AnyOfBranch · LookupError: no
    1-1 ContextStarted 'any-of-branch-1' as AnyOfBranch
    1-1-1 WaitStarted 'tick' · ms 50
    1-1-1 WaitSucceeded 'tick' · ms 50
    1-1 ContextSucceeded 'any-of-branch-1' as AnyOfBranch · = "tick"
    1 ContextSucceeded 'any' as AnyOf · = "tick"
    """,
)
async def any_of_takes_the_first_success(context: AsyncDurableContext) -> str:
    one_after_the_other = BranchesConfig(max_concurrency=1)
    return await context.any_of([failing, tick, never], "any", one_after_the_other)


@scenario(
    End.succeeded(["no", "no"]),
    """
    1 ContextStarted 'any' as AnyOf
    1-0 ContextStarted 'any-of-branch-0' as AnyOfBranch
    1-0-1 WaitStarted 'tick' · ms 50
    1-0-1 WaitSucceeded 'tick' · ms 50
    1-0 ContextFailed 'any-of-branch-0' as AnyOfBranch · LookupError: no
    1-1 ContextStarted 'any-of-branch-1' as AnyOfBranch
    1-1-1 WaitStarted 'tick' · ms 50
    1-1-1 WaitSucceeded 'tick' · ms 50
    1-1 ContextFailed 'any-of-branch-1' as AnyOfBranch · LookupError: no
    1 ContextFailed 'any' as AnyOf · perdure.composition.AnyOfError: 62 characters (8c97c208)
    · with [["LookupError","no",null],["LookupError","no",null]]
    """,
)
async def any_of_raises_all_errors(context: AsyncDurableContext) -> list[Any]:
    try:
        return [await context.any_of([failing, failing], "any")]
    except AnyOfError as error:
        return [str(each) for each in error.errors]


@scenario(
    End.succeeded(["tick", "step"]),
    """
    1 ContextStarted 'all' as AllOf
    1-0 ContextStarted 'all-of-branch-0' as AllOfBranch
    1-0-1 WaitStarted 'tick' · ms 50
    1-0-1 WaitSucceeded 'tick' · ms 50
    1-0 ContextSucceeded 'all-of-branch-0' as AllOfBranch · = "tick"
    1-1 ContextStarted 'all-of-branch-1' as AllOfBranch
    1-1-1 StepStarted 'step'
    1-1-1 StepSucceeded 'step' · = "step" · attempt 1
    1-1 ContextSucceeded 'all-of-branch-1' as AllOfBranch · = "step"
    1 ContextSucceeded 'all' as AllOf · = ["tick","step"]
    """,
)
async def all_of_returns_all_values(context: AsyncDurableContext) -> list[str]:
    async def step(inner: AsyncDurableContext) -> str:
        return await inner.step(lambda _: "step", "step")

    return await context.all_of([tick, step], "all")


@scenario(
    End.succeeded("no"),
    """
    1 ContextStarted 'all' as AllOf
    1-0 ContextStarted 'all-of-branch-0' as AllOfBranch
    1-0-1 WaitStarted 'never' · ms 86400000
    1-0-1 WaitCancelled 'never'
    1-1 ContextStarted 'all-of-branch-1' as AllOfBranch
    1-1-1 WaitStarted 'tick' · ms 50
    1-1-1 WaitSucceeded 'tick' · ms 50
    1-1 ContextFailed 'all-of-branch-1' as AllOfBranch · LookupError: no
    1-2 ContextStarted 'all-of-branch-2' as AllOfBranch
    1-2-1 WaitStarted 'never' · ms 86400000
    1-2-1 WaitCancelled 'never'
    1 ContextFailed 'all' as AllOf · LookupError: no
    """,
    abandoned=("1-0", "1-2"),
)
async def all_of_raises_the_first_failure(context: AsyncDurableContext) -> str:
    try:
        return str(await context.all_of([never, failing, never], "all"))
    except ChildContextError as error:
        return str(error)
