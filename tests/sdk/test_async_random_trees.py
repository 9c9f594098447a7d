"""Random trees awaited one by one or side by side: the results of blocking handlers."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import (
    AsyncDurableContext,
    DurableOperationError,
    StepContext,
    WithRetryConfig,
    durable_execution,
    with_retry,
)
from perdure.config import ChildConfig, Duration, MapConfig, ParallelConfig
from perdure.waits import WaitForConditionConfig
from tests.sdk import tree_runs as blocking
from tests.sdk import trees
from tests.sdk.hosted import Crash, Hosted
from tests.sdk.tree_runs import assert_same, differences, event_lines, run_to_end


class Tree:
    """Performs trees; `together` says whether the operations of one body run side by side."""

    def __init__(self, *, together: bool) -> None:
        self._together = together

    async def perform(
        self, context: AsyncDurableContext, body: tuple[trees.Node, ...]
    ) -> list[Any]:
        named = [(node, f"{place}") for place, node in enumerate(body)]
        if self._together:
            attempts = [self.attempt(context, node, name) for node, name in named]
            return list(await asyncio.gather(*attempts))
        return [await self.attempt(context, node, name) for node, name in named]

    async def attempt(self, context: AsyncDurableContext, node: trees.Node, name: str) -> Any:
        try:
            return await self.act(context, node, name)
        except DurableOperationError as error:
            return [type(error).__name__, str(error), error.error_type]

    def act(
        self, context: AsyncDurableContext, node: trees.Node, name: str
    ) -> Coroutine[Any, Any, Any]:
        match node:
            case trees.Beside():
                return context.run_in_child_context(_beside(node), name)
            case trees.Child():
                config = ChildConfig[Any](is_virtual=node.virtual)
                return context.run_in_child_context(self.nested(node), name, config)
            case trees.Again(body):
                retried = WithRetryConfig[Any](trees.SOON.retry_strategy)
                return with_retry(context, self.tried_again(body), retried, name)
            case trees.Fork():
                return self.fork(context, node, name)
            case trees.Compose():
                return self.compose(context, node, name)
            case _:
                return _act_alone(context, node, name)

    def nested(
        self, node: trees.Child
    ) -> Callable[[AsyncDurableContext], Coroutine[Any, Any, Any]]:
        async def run(context: AsyncDurableContext) -> list[Any]:
            return node.come_to(await self.perform(context, node.body))

        return run

    def tried_again(
        self, body: tuple[trees.Node, ...]
    ) -> Callable[[AsyncDurableContext, int], Coroutine[Any, Any, list[Any]]]:
        async def run(context: AsyncDurableContext, attempt: int) -> list[Any]:
            results = await self.perform(context, body)
            if attempt == 1:
                raise LookupError(repr(results))
            return results

        return run

    async def fork(self, context: AsyncDurableContext, node: trees.Fork, name: str) -> list[Any]:
        def branch(
            body: tuple[trees.Node, ...],
        ) -> Callable[[AsyncDurableContext], Coroutine[Any, Any, list[Any]]]:
            async def run(inner: AsyncDurableContext) -> list[Any]:
                return node.come_to(await self.perform(inner, body))

            return run

        async def item(inner: AsyncDurableContext, *_: int | Sequence[int]) -> list[Any]:
            return await branch(node.branches[0])(inner)

        if node.as_map:
            mapped = MapConfig[int](node.concurrency, trees.ALL, nesting_type=node.nesting)
            result = await context.map(range(len(node.branches)), item, name, mapped)
        else:
            config = ParallelConfig(node.concurrency, trees.ALL, nesting_type=node.nesting)
            branches = [branch(body) for body in node.branches]
            result = await context.parallel(branches, name, config)
        return [result.get_results(), result.completion_reason.value]

    def compose(
        self, context: AsyncDurableContext, node: trees.Compose, name: str
    ) -> Coroutine[Any, Any, Any]:
        def branch(
            place: int,
        ) -> Callable[[AsyncDurableContext], Coroutine[Any, Any, list[Any]]]:
            async def run(inner: AsyncDurableContext) -> list[Any]:
                return node.come_to(place, await self.perform(inner, node.branches[place]))

            return run

        async def first(inner: AsyncDurableContext) -> list[Any]:
            await inner.wait(Duration(1), "until the other one waits")
            return await branch(0)(inner)

        async def late(inner: AsyncDurableContext) -> None:
            await inner.wait(Duration.from_days(300), trees.LATE)

        if node.kind == "race":
            racing: list[Any] = [first, late]
            return context.race(racing, name, node.config)
        branches = [branch(place) for place in range(len(node.branches))]
        if node.kind == "any_of":
            return context.any_of(branches, name, node.config)
        return context.all_of(branches, name, node.config)


def _act_alone(
    context: AsyncDurableContext, leaf: trees.Leaf, name: str
) -> Coroutine[Any, Any, Any]:
    match leaf:
        case trees.Step(failures):
            return context.step(_flaky(failures), name, trees.SOON)
        case trees.Once():
            return context.step(lambda _: "once", name, trees.ONCE)
        case trees.Wait(milliseconds):
            return context.wait(Duration.from_milliseconds(milliseconds), name)
        case trees.Now():
            return _zone_of_now(context, name)
        case trees.Draw():
            return _drawn(context)
        case trees.Ask():
            return context.wait_for_callback(lambda _id, _context: None, name)
        case trees.Poll(checks):
            polled = WaitForConditionConfig[int](lambda state, _: trees.go_on(state < checks), 0)
            return context.wait_for_condition(_count, polled, name)
        case trees.Call():
            called: Coroutine[Any, Any, Any] = context.invoke("other", None, name)
            return called


def _flaky(failures: int) -> Callable[[StepContext], Coroutine[Any, Any, int]]:
    async def body(step: StepContext) -> int:
        await asyncio.sleep(0)
        return trees.fail_until(failures, step.attempt)

    return body


async def _zone_of_now(context: AsyncDurableContext, name: str) -> str | None:
    return (await context.now(name)).tzname()


async def _drawn(context: AsyncDurableContext) -> list[Any]:
    return [str(context.uuid()), context.random().random()]


def _beside(node: trees.Beside) -> Callable[[AsyncDurableContext], Coroutine[Any, Any, list[Any]]]:
    async def run(context: AsyncDurableContext) -> list[Any]:
        days = 300 if node.cancelled else 1
        created = await context.create_wait(Duration.from_days(days), trees.BESIDE)
        done = await context.step(lambda _: "done", "meanwhile")
        if node.cancelled:
            return [done, await created.cancel()]
        await created.result()
        return [done]

    return run


def _count(state: int, _: Any) -> int:
    return state + 1


def finished(tree: tuple[trees.Node, ...], crashes: list[Crash], *, together: bool) -> Hosted:
    @durable_execution(name="tree")
    async def program(_: Any, context: AsyncDurableContext) -> Any:
        results = await Tree(together=together).perform(context, tree)
        await context.wait(Duration(1), "so that everything is replayed")
        return repr(results).replace(trees.LARGE, "large")

    return run_to_end(program, crashes)


@settings(deadline=None, max_examples=60)
@given(trees.TREES, trees.CRASHES, st.booleans())
def test_async_trees_come_to_what_blocking_ones_do(
    tree: tuple[trees.Node, ...], crashes: list[Crash], together: bool
) -> None:
    theirs = blocking.finished(tree, [])
    ours = finished(tree, crashes, together=together)
    if not together:
        assert_same(theirs, ours)
    assert ours.outcomes[-1] == theirs.outcomes[-1]
    expected = sorted(event_lines(theirs, crashed=False), key=_place)
    assert (text := differences(expected, sorted(event_lines(ours), key=_place))) is None, text


def _place(line: str) -> str:
    return line.partition(" ")[0]
