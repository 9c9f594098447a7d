"""Any tree of operations, awaited one by one or side by side: what blocking handlers come to."""

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
from tests.sdk.hosted import Crash, Hosted
from tests.sdk.tree_runs import assert_same, differences, run_to_end, told
from tests.sdk.trees import (
    ALL,
    BESIDE,
    CRASHES,
    LARGE,
    LATE,
    ONCE,
    SOON,
    TREES,
    Again,
    Ask,
    Beside,
    Call,
    Child,
    Compose,
    Draw,
    Fork,
    Leaf,
    Node,
    Now,
    Once,
    Poll,
    Step,
    Wait,
    fail_until,
    go_on,
)


class Tree:
    """Performs trees; `together` says whether the operations of one body run side by side."""

    def __init__(self, *, together: bool) -> None:
        self._together = together

    async def perform(self, context: AsyncDurableContext, body: tuple[Node, ...]) -> list[Any]:
        named = [(node, f"{place}") for place, node in enumerate(body)]
        if self._together:
            attempts = [self.attempt(context, node, name) for node, name in named]
            return list(await asyncio.gather(*attempts))
        return [await self.attempt(context, node, name) for node, name in named]

    async def attempt(self, context: AsyncDurableContext, node: Node, name: str) -> Any:
        try:
            return await self.act(context, node, name)
        except DurableOperationError as error:
            return [type(error).__name__, str(error), error.error_type]

    def act(self, context: AsyncDurableContext, node: Node, name: str) -> Coroutine[Any, Any, Any]:
        match node:
            case Beside():
                return context.run_in_child_context(_beside(node), name)
            case Child():
                config = ChildConfig[Any](is_virtual=node.virtual)
                return context.run_in_child_context(self.nested(node), name, config)
            case Again(body):
                retried = WithRetryConfig[Any](SOON.retry_strategy)
                return with_retry(context, self.tried_again(body), retried, name)
            case Fork():
                return self.fork(context, node, name)
            case Compose():
                return self.compose(context, node, name)
            case _:
                return _act_alone(context, node, name)

    def nested(self, node: Child) -> Callable[[AsyncDurableContext], Coroutine[Any, Any, Any]]:
        async def run(context: AsyncDurableContext) -> list[Any]:
            return node.come_to(await self.perform(context, node.body))

        return run

    def tried_again(
        self, body: tuple[Node, ...]
    ) -> Callable[[AsyncDurableContext, int], Coroutine[Any, Any, list[Any]]]:
        async def run(context: AsyncDurableContext, attempt: int) -> list[Any]:
            results = await self.perform(context, body)
            if attempt == 1:
                raise LookupError(repr(results))
            return results

        return run

    async def fork(self, context: AsyncDurableContext, node: Fork, name: str) -> list[Any]:
        def branch(
            body: tuple[Node, ...],
        ) -> Callable[[AsyncDurableContext], Coroutine[Any, Any, list[Any]]]:
            async def run(inner: AsyncDurableContext) -> list[Any]:
                return node.come_to(await self.perform(inner, body))

            return run

        async def item(inner: AsyncDurableContext, *_: int | Sequence[int]) -> list[Any]:
            return await branch(node.branches[0])(inner)

        if node.as_map:
            mapped = MapConfig[int](node.concurrency, ALL, nesting_type=node.nesting)
            result = await context.map(range(len(node.branches)), item, name, mapped)
        else:
            config = ParallelConfig(node.concurrency, ALL, nesting_type=node.nesting)
            branches = [branch(body) for body in node.branches]
            result = await context.parallel(branches, name, config)
        return [result.get_results(), result.completion_reason.value]

    def compose(
        self, context: AsyncDurableContext, node: Compose, name: str
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
            await inner.wait(Duration.from_days(300), LATE)

        if node.kind == "race":
            racing: list[Any] = [first, late]
            return context.race(racing, name, node.config)
        branches = [branch(place) for place in range(len(node.branches))]
        if node.kind == "any_of":
            return context.any_of(branches, name, node.config)
        return context.all_of(branches, name, node.config)


def _act_alone(context: AsyncDurableContext, leaf: Leaf, name: str) -> Coroutine[Any, Any, Any]:
    match leaf:
        case Step(failures):
            return context.step(_flaky(failures), name, SOON)
        case Once():
            return context.step(lambda _: "once", name, ONCE)
        case Wait(milliseconds):
            return context.wait(Duration.from_milliseconds(milliseconds), name)
        case Now():
            return _zone_of_now(context, name)
        case Draw():
            return _drawn(context)
        case Ask():
            return context.wait_for_callback(lambda _id, _context: None, name)
        case Poll(checks):
            polled = WaitForConditionConfig[int](lambda state, _: go_on(state < checks), 0)
            return context.wait_for_condition(_count, polled, name)
        case Call():
            called: Coroutine[Any, Any, Any] = context.invoke("other", None, name)
            return called


def _flaky(failures: int) -> Callable[[StepContext], Coroutine[Any, Any, int]]:
    async def body(step: StepContext) -> int:
        await asyncio.sleep(0)
        return fail_until(failures, step.attempt)

    return body


async def _zone_of_now(context: AsyncDurableContext, name: str) -> str | None:
    return (await context.now(name)).tzname()


async def _drawn(context: AsyncDurableContext) -> list[Any]:
    return [str(context.uuid()), context.random().random()]


def _beside(node: Beside) -> Callable[[AsyncDurableContext], Coroutine[Any, Any, list[Any]]]:
    async def run(context: AsyncDurableContext) -> list[Any]:
        days = 300 if node.cancelled else 1
        created = await context.create_wait(Duration.from_days(days), BESIDE)
        done = await context.step(lambda _: "done", "meanwhile")
        if node.cancelled:
            return [done, await created.cancel()]
        await created.result()
        return [done]

    return run


def _count(state: int, _: Any) -> int:
    return state + 1


def finished(tree: tuple[Node, ...], crashes: list[Crash], *, together: bool) -> Hosted:
    @durable_execution(name="tree")
    async def program(_: Any, context: AsyncDurableContext) -> Any:
        results = await Tree(together=together).perform(context, tree)
        await context.wait(Duration(1), "so that everything is replayed")
        return repr(results).replace(LARGE, "large")

    return run_to_end(program, crashes)


@settings(deadline=None, max_examples=60)
@given(TREES, CRASHES, st.booleans())
def test_async_trees_come_to_what_blocking_ones_do(
    tree: tuple[Node, ...], crashes: list[Crash], together: bool
) -> None:
    theirs = blocking.finished(tree, [])
    ours = finished(tree, crashes, together=together)
    if not together:
        assert_same(theirs, ours)
    assert ours.outcomes[-1] == theirs.outcomes[-1]
    expected = sorted(told(theirs, crashed=False), key=_place)
    assert (text := differences(expected, sorted(told(ours), key=_place))) is None, text


def _place(line: str) -> str:
    return line.partition(" ")[0]
