"""Maps and parallels that run to the end: nested and flat, failing, one in another, large."""

from typing import Any

from perdure import AsyncDurableContext
from perdure.config import CompletionConfig, MapConfig, NestingType, ParallelConfig
from tests.conformance.scenario import End, scenario
from tests.conformance.scenarios.bodies import TICK, busy, busy_at, doubled, one

ALL = CompletionConfig.all_completed()
FLAT, NESTED = NestingType.FLAT, NestingType.NESTED


async def busy_item(context: AsyncDurableContext, item: int, *_: Any) -> list[Any]:
    """Run operations of several kinds, and fail at 1."""
    done = await busy(context)
    if item == 1:
        raise ValueError("one of them")
    return [item, done]


@scenario(
    End.succeeded([[2, 4], "ALL_COMPLETED"]),
    """
    1 ContextStarted 'map' as Map
    1-0 ContextStarted 'map-item-0' as MapIteration
    1-0-1 StepStarted 'double'
    1-0-1 StepSucceeded 'double' · = 2 · attempt 1
    1-0 ContextSucceeded 'map-item-0' as MapIteration · = 2
    1-1 ContextStarted 'map-item-1' as MapIteration
    1-1-1 StepStarted 'double'
    1-1-1 StepSucceeded 'double' · = 4 · attempt 1
    1-1 ContextSucceeded 'map-item-1' as MapIteration · = 4
    1 ContextSucceeded 'map' as Map · = ALL_COMPLETED [0 2, 1 4]
    """,
)
async def map_succeeds(context: AsyncDurableContext) -> list[Any]:
    result = await context.map([1, 2], doubled, "map")
    return [result.get_results(), result.completion_reason.value]


@scenario(
    End.succeeded([]),
    """
    1 ContextStarted 'map' as Map
    1 ContextSucceeded 'map' as Map · = ALL_COMPLETED []
    """,
)
async def map_of_nothing_succeeds(context: AsyncDurableContext) -> list[Any]:
    return (await context.map([], doubled, "map")).get_results()


@scenario(
    End.succeeded([[[0, [2, "end"]], [2, [2, "end"]]], 1, "went on"]),
    f"""
    1 ContextStarted 'map' as Map
    1-0 ContextStarted 'map-item-0' as MapIteration
    {busy_at("1-0-1", "1-0-2", "1-0-3")}
    1-0 ContextSucceeded 'map-item-0' as MapIteration · = [0,[2,"end"]]
    1-1 ContextStarted 'map-item-1' as MapIteration
    {busy_at("1-1-1", "1-1-2", "1-1-3")}
    1-1 ContextFailed 'map-item-1' as MapIteration · ValueError: one of them
    1-2 ContextStarted 'map-item-2' as MapIteration
    {busy_at("1-2-1", "1-2-2", "1-2-3")}
    1-2 ContextSucceeded 'map-item-2' as MapIteration · = [2,[2,"end"]]
    1 ContextSucceeded 'map' as Map
    · = ALL_COMPLETED [0 [0, [2, "end"]], 1 ValueError: one of them, 2 [2, [2, "end"]]]
    2 StepStarted 'after'
    2 StepSucceeded 'after' · = "went on" · attempt 1
    """,
)
async def nested_map_goes_on_after_a_failure(context: AsyncDurableContext) -> list[Any]:
    result = await context.map([0, 1, 2], busy_item, "map", MapConfig(completion_config=ALL))
    after = await context.step(lambda _: "went on", "after")
    return [result.get_results(), result.failure_count, after]


@scenario(
    End.succeeded([[[0, [2, "end"]], [2, [2, "end"]]], 1, "went on"]),
    f"""
    1 ContextStarted 'map' as Map
    {busy_at("1-0-1", "1-0-2", "1-0-3", parent="1")}
    {busy_at("1-1-1", "1-1-2", "1-1-3", parent="1")}
    {busy_at("1-2-1", "1-2-2", "1-2-3", parent="1")}
    1 ContextSucceeded 'map' as Map
    · = ALL_COMPLETED [0 [0, [2, "end"]], 1 ValueError: one of them, 2 [2, [2, "end"]]]
    2 StepStarted 'after'
    2 StepSucceeded 'after' · = "went on" · attempt 1
    """,
)
async def flat_map_goes_on_after_a_failure(context: AsyncDurableContext) -> list[Any]:
    config = MapConfig[int](completion_config=ALL, nesting_type=FLAT)
    result = await context.map([0, 1, 2], busy_item, "map", config)
    after = await context.step(lambda _: "went on", "after")
    return [result.get_results(), result.failure_count, after]


@scenario(
    End.succeeded([[[0, [2, "end"]], [2, [2, "end"]]], 1]),
    f"""
    1 ContextStarted 'map' as Map
    1-0 ContextStarted 'map-item-0' as MapIteration
    {busy_at("1-0-1", "1-0-2", "1-0-3")}
    1-0 ContextSucceeded 'map-item-0' as MapIteration · = [0,[2,"end"]]
    1-1 ContextStarted 'map-item-1' as MapIteration
    {busy_at("1-1-1", "1-1-2", "1-1-3")}
    1-1 ContextFailed 'map-item-1' as MapIteration · ValueError: one of them
    1-2 ContextStarted 'map-item-2' as MapIteration
    {busy_at("1-2-1", "1-2-2", "1-2-3")}
    1-2 ContextSucceeded 'map-item-2' as MapIteration · = [2,[2,"end"]]
    1 ContextSucceeded 'map' as Map
    · = ALL_COMPLETED [0 [0, [2, "end"]], 1 ValueError: one of them, 2 [2, [2, "end"]]]
    """,
)
async def nested_map_takes_one_at_a_time(context: AsyncDurableContext) -> list[Any]:
    result = await context.map([0, 1, 2], busy_item, "map", MapConfig(1, ALL))
    return [result.get_results(), result.failure_count]


@scenario(
    End.succeeded([[[0, [2, "end"]], [2, [2, "end"]]], 1]),
    f"""
    1 ContextStarted 'map' as Map
    {busy_at("1-0-1", "1-0-2", "1-0-3", parent="1")}
    {busy_at("1-1-1", "1-1-2", "1-1-3", parent="1")}
    {busy_at("1-2-1", "1-2-2", "1-2-3", parent="1")}
    1 ContextSucceeded 'map' as Map
    · = ALL_COMPLETED [0 [0, [2, "end"]], 1 ValueError: one of them, 2 [2, [2, "end"]]]
    """,
)
async def flat_map_takes_two_at_a_time(context: AsyncDurableContext) -> list[Any]:
    result = await context.map([0, 1, 2], busy_item, "map", MapConfig(2, ALL, nesting_type=FLAT))
    return [result.get_results(), result.failure_count]


@scenario(
    End.succeeded([[2, 4, 6], 0]),
    """
    1 ContextStarted 'map' as Map
    1-0 ContextStarted 'item 1 at 0' as MapIteration
    1-0-1 StepStarted 'double'
    1-0-1 StepSucceeded 'double' · = 2 · attempt 1
    1-0 ContextSucceeded 'item 1 at 0' as MapIteration · = 2
    1-1 ContextStarted 'item 2 at 1' as MapIteration
    1-1-1 StepStarted 'double'
    1-1-1 StepSucceeded 'double' · = 4 · attempt 1
    1-1 ContextSucceeded 'item 2 at 1' as MapIteration · = 4
    1-2 ContextStarted 'item 3 at 2' as MapIteration
    1-2-1 StepStarted 'double'
    1-2-1 StepSucceeded 'double' · = 6 · attempt 1
    1-2 ContextSucceeded 'item 3 at 2' as MapIteration · = 6
    1 ContextSucceeded 'map' as Map · = ALL_COMPLETED [0 2, 1 4, 2 6]
    """,
)
async def map_runs_two_at_a_time_under_names(context: AsyncDurableContext) -> list[Any]:
    config = MapConfig[int](2, item_namer=lambda item, index: f"item {item} at {index}")
    result = await context.map([1, 2, 3], doubled, "map", config)
    return [result.get_results(), result.failure_count]


@scenario(
    End.succeeded([[[[2, "end"], 7], [[2, "end"], 7]], [2, "end"]]),
    f"""
    1 ContextStarted 'outer' as Map
    1-0 ContextStarted 'map-item-0' as MapIteration
    1-0-1 ContextStarted 'inner' as Parallel
    1-0-1-0 ContextStarted 'parallel-branch-0' as ParallelBranch
    {busy_at("1-0-1-0-1", "1-0-1-0-2", "1-0-1-0-3")}
    1-0-1-0 ContextSucceeded 'parallel-branch-0' as ParallelBranch · = [2,"end"]
    1-0-1-1 ContextStarted 'parallel-branch-1' as ParallelBranch
    1-0-1-1-1 StepStarted 'one'
    1-0-1-1-1 StepSucceeded 'one' · = 7 · attempt 1
    1-0-1-1 ContextSucceeded 'parallel-branch-1' as ParallelBranch · = 7
    1-0-1 ContextSucceeded 'inner' as Parallel · = ALL_COMPLETED [0 [2, "end"], 1 7]
    1-0 ContextSucceeded 'map-item-0' as MapIteration · = [[2,"end"],7]
    1-1 ContextStarted 'map-item-1' as MapIteration
    1-1-1 ContextStarted 'inner' as Parallel
    {busy_at("1-1-1-0-1", "1-1-1-0-2", "1-1-1-0-3", parent="1-1-1")}
    1-1-1-1-1 StepStarted 'one' in 1-1-1
    1-1-1-1-1 StepSucceeded 'one' in 1-1-1 · = 7 · attempt 1
    1-1-1 ContextSucceeded 'inner' as Parallel · = ALL_COMPLETED [0 [2, "end"], 1 7]
    1-1 ContextSucceeded 'map-item-1' as MapIteration · = [[2,"end"],7]
    1 ContextSucceeded 'outer' as Map · = ALL_COMPLETED [0 [[2, "end"], 7], 1 [[2, "end"], 7]]
    {busy_at("2", "3", "4")}
    """,
)
async def batches_are_nested(context: AsyncDurableContext) -> list[Any]:
    async def item(inner: AsyncDurableContext, number: int, *_: Any) -> list[Any]:
        config = ParallelConfig(nesting_type=FLAT if number else NESTED)
        return (await inner.parallel([busy, one(7)], "inner", config)).get_results()

    return [(await context.map([0, 1], item, "outer")).get_results(), await busy(context)]


@scenario(
    End.succeeded([[150_000, 150_000], "went on"]),
    """
    1 ContextStarted 'map' as Map
    1-0 ContextStarted 'map-item-0' as MapIteration
    1-0-1 StepStarted 'letter'
    1-0-1 StepSucceeded 'letter' · = "a" · attempt 1
    1-0 ContextSucceeded 'map-item-0' as MapIteration · = 150,002 characters (4b278b43)
    1-1 ContextStarted 'map-item-1' as MapIteration
    1-1-1 StepStarted 'letter'
    1-1-1 StepSucceeded 'letter' · = "b" · attempt 1
    1-1 ContextSucceeded 'map-item-1' as MapIteration · = 150,002 characters (fda72a07)
    1 ContextSucceeded 'map' as Map · = ALL_COMPLETED [0 150,002 characters (4b278b43), 1 150,002 characters (fda72a07)]
    2 WaitStarted 'so that it is asked for again' · ms 50
    2 WaitSucceeded 'so that it is asked for again' · ms 50
    3 StepStarted 'after'
    3 StepSucceeded 'after' · = "went on" · attempt 1
    """,  # noqa: E501
)
async def large_nested_map_is_kept_whole(context: AsyncDurableContext) -> list[Any]:
    return await large_map(context, NESTED)


@scenario(
    End.succeeded([[150_000, 150_000], "went on"]),
    """
    1 ContextStarted 'map' as Map
    1-0-1 StepStarted 'letter' in 1
    1-0-1 StepSucceeded 'letter' in 1 · = "a" · attempt 1
    1-1-1 StepStarted 'letter' in 1
    1-1-1 StepSucceeded 'letter' in 1 · = "b" · attempt 1
    1 ContextSucceeded 'map' as Map · = ALL_COMPLETED [0 150,002 characters (4b278b43), 1 150,002 characters (fda72a07)]
    2 WaitStarted 'so that it is asked for again' · ms 50
    2 WaitSucceeded 'so that it is asked for again' · ms 50
    3 StepStarted 'after'
    3 StepSucceeded 'after' · = "went on" · attempt 1
    """,  # noqa: E501
)
async def large_flat_map_is_kept_whole(context: AsyncDurableContext) -> list[Any]:
    return await large_map(context, FLAT)


async def large_map(context: AsyncDurableContext, nesting: NestingType) -> list[Any]:
    """Map to a large result, and wait, so that it is rebuilt on replay."""

    async def item(inner: AsyncDurableContext, letter: str, *_: Any) -> str:
        return await inner.step(lambda _: letter, "letter") * 150_000

    result = await context.map(["a", "b"], item, "map", MapConfig(nesting_type=nesting))
    await context.wait(TICK, "so that it is asked for again")
    after = await context.step(lambda _: "went on", "after")
    return [[len(text) for text in result.get_results()], after]
