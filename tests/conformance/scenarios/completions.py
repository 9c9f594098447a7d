"""Completion of maps and parallels: too many failures, enough successes, or a predicate."""

from typing import Any

from perdure import (
    AsyncDurableContext,
    CompletionDecision,
    CompletionOutcome,
    CompletionStatus,
    ParallelBranch,
    complete_batch,
    continue_batch,
)
from perdure.config import CompletionConfig, Duration, MapConfig, NestingType, ParallelConfig
from tests.conformance.scenario import End, scenario
from tests.conformance.scenarios.bodies import TICK, doubled, one


async def fails(_context: AsyncDurableContext) -> int:
    """Fail."""
    raise ValueError("this one")


@scenario(
    End.succeeded([[2], 1, "FAILURE_TOLERANCE_EXCEEDED"]),
    """
    1 ContextStarted 'map' as Map
    1-0 ContextStarted 'map-item-0' as MapIteration
    1-0-1 StepStarted 'double'
    1-0-1 StepSucceeded 'double' · = 2 · attempt 1
    1-0 ContextSucceeded 'map-item-0' as MapIteration · = 2
    1-1 ContextStarted 'map-item-1' as MapIteration
    1-1 ContextFailed 'map-item-1' as MapIteration · ValueError: bad luck
    1 ContextSucceeded 'map' as Map · = FAILURE_TOLERANCE_EXCEEDED [0 2, 1 ValueError: bad luck]
    """,
)
async def map_stops_at_the_first_failure(context: AsyncDurableContext) -> list[Any]:
    result = await context.map([1, 13, 2], doubled, "map", MapConfig(1))
    return [result.get_results(), result.failure_count, result.completion_reason.value]


@scenario(
    End.succeeded([[2, 4], 1, "ALL_COMPLETED"]),
    """
    1 ContextStarted 'map' as Map
    1-0 ContextStarted 'map-item-0' as MapIteration
    1-0-1 StepStarted 'double'
    1-0-1 StepSucceeded 'double' · = 2 · attempt 1
    1-0 ContextSucceeded 'map-item-0' as MapIteration · = 2
    1-1 ContextStarted 'map-item-1' as MapIteration
    1-1 ContextFailed 'map-item-1' as MapIteration · ValueError: bad luck
    1-2 ContextStarted 'map-item-2' as MapIteration
    1-2-1 StepStarted 'double'
    1-2-1 StepSucceeded 'double' · = 4 · attempt 1
    1-2 ContextSucceeded 'map-item-2' as MapIteration · = 4
    1 ContextSucceeded 'map' as Map · = ALL_COMPLETED [0 2, 1 ValueError: bad luck, 2 4]
    """,
)
async def map_tolerates_a_failure(context: AsyncDurableContext) -> list[Any]:
    config = MapConfig[int](completion_config=CompletionConfig(tolerated_failure_count=1))
    result = await context.map([1, 13, 2], doubled, "map", config)
    return [result.get_results(), result.failure_count, result.completion_reason.value]


@scenario(
    End.failed("perdure.exceptions.ChildContextError", "bad luck"),
    """
    1 ContextStarted 'map' as Map
    1-0 ContextStarted 'map-item-0' as MapIteration
    1-0-1 StepStarted 'double'
    1-0-1 StepSucceeded 'double' · = 2 · attempt 1
    1-0 ContextSucceeded 'map-item-0' as MapIteration · = 2
    1-1 ContextStarted 'map-item-1' as MapIteration
    1-1 ContextFailed 'map-item-1' as MapIteration · ValueError: bad luck
    1 ContextSucceeded 'map' as Map · = FAILURE_TOLERANCE_EXCEEDED [0 2, 1 ValueError: bad luck]
    """,
)
async def map_throws_its_first_failure(context: AsyncDurableContext) -> None:
    (await context.map([1, 13], doubled, "map", MapConfig(1))).throw_if_error()


@scenario(
    End.succeeded([[2, 4], "MIN_SUCCESSFUL_REACHED"]),
    """
    1 ContextStarted 'map' as Map
    1-0-1 StepStarted 'double' in 1
    1-0-1 StepSucceeded 'double' in 1 · = 2 · attempt 1
    1-2-1 StepStarted 'double' in 1
    1-2-1 StepSucceeded 'double' in 1 · = 4 · attempt 1
    1 ContextSucceeded 'map' as Map · = MIN_SUCCESSFUL_REACHED [0 2, 1 ValueError: bad luck, 2 4]
    """,
)
async def flat_map_stops_with_enough_successes(context: AsyncDurableContext) -> list[Any]:
    enough = CompletionConfig(min_successful=2)
    config = MapConfig[int](1, enough, nesting_type=NestingType.FLAT)
    result = await context.map([1, 13, 2, 3], doubled, "map", config)
    return [result.get_results(), result.completion_reason.value]


@scenario(
    End.succeeded([[1, 2], "CUSTOM_COMPLETION_SUCCEEDED"]),
    """
    1 ContextStarted 'parallel' as Parallel
    1-0 ContextStarted 'parallel-branch-0' as ParallelBranch
    1-0-1 StepStarted 'one'
    1-0-1 StepSucceeded 'one' · = 1 · attempt 1
    1-0 ContextSucceeded 'parallel-branch-0' as ParallelBranch · = 1
    1-1 ContextStarted 'parallel-branch-1' as ParallelBranch
    1-1 ContextFailed 'parallel-branch-1' as ParallelBranch · ValueError: this one
    1-2 ContextStarted 'parallel-branch-2' as ParallelBranch
    1-2-1 StepStarted 'one'
    1-2-1 StepSucceeded 'one' · = 2 · attempt 1
    1-2 ContextSucceeded 'parallel-branch-2' as ParallelBranch · = 2
    1 ContextSucceeded 'parallel' as Parallel
    · = CUSTOM_COMPLETION_SUCCEEDED [0 1, 1 ValueError: this one, 2 2]
    """,
)
async def parallel_stops_when_a_predicate_says_so(context: AsyncDurableContext) -> list[Any]:
    def decide(status: CompletionStatus) -> CompletionDecision:
        return complete_batch() if status.success_count == 2 else continue_batch()

    config = ParallelConfig(1, CompletionConfig(should_complete=decide))
    result = await context.parallel([one(1), fails, one(2), one(3)], "parallel", config)
    return [result.get_results(), result.completion_reason.value]


@scenario(
    End.succeeded([[], "CUSTOM_COMPLETION_FAILED"]),
    """
    1 ContextStarted 'parallel' as Parallel
    1 ContextSucceeded 'parallel' as Parallel
    · = CUSTOM_COMPLETION_FAILED [0 ValueError: this one]
    """,
)
async def parallel_fails_when_a_predicate_says_so(context: AsyncDurableContext) -> list[Any]:
    def decide(status: CompletionStatus) -> CompletionDecision:
        failed = complete_batch(CompletionOutcome.FAILED)
        return failed if status.failure_count else continue_batch()

    config = ParallelConfig(
        1, CompletionConfig(should_complete=decide), nesting_type=NestingType.FLAT
    )
    result = await context.parallel([fails, one(2)], "parallel", config)
    return [result.get_results(), result.completion_reason.value]


@scenario(
    End.succeeded([["first"], "MIN_SUCCESSFUL_REACHED", "went on"]),
    """
    1 ContextStarted 'race' as Parallel
    1-0 ContextStarted 'quick' as ParallelBranch
    1-0-1 WaitStarted 'short' · ms 50
    1-0-1 WaitSucceeded 'short' · ms 50
    1-0 ContextSucceeded 'quick' as ParallelBranch · = "first"
    1-1 ContextStarted 'late' as ParallelBranch
    1-1-1 WaitStarted 'long' · ms 3600000
    1 ContextSucceeded 'race' as Parallel · = MIN_SUCCESSFUL_REACHED [0 "first", 1 STARTED]
    2 StepStarted 'after'
    2 StepSucceeded 'after' · = "went on" · attempt 1
    """,
    abandoned=("1-1",),
)
async def parallel_abandons_who_is_late(context: AsyncDurableContext) -> list[Any]:
    async def quick(inner: AsyncDurableContext) -> str:
        await inner.wait(TICK, "short")
        return "first"

    async def late(inner: AsyncDurableContext) -> str:
        await inner.wait(Duration(3_600), "long")
        return "second"

    config = ParallelConfig(completion_config=CompletionConfig.first_successful())
    branches = [ParallelBranch(quick, "quick"), ParallelBranch(late, "late")]
    result = await context.parallel(branches, "race", config)
    after = await context.step(lambda _: "went on", "after")
    return [result.get_results(), result.completion_reason.value, after]
