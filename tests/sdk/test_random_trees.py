"""Any tree of operations, any crashes: the same result and the same history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import (
    DurableContext,
    DurableFunction,
    DurableOperationError,
    WithRetryConfig,
    branches,
    durable_execution,
    with_retry,
)
from perdure.config import (
    BranchesConfig,
    ChildConfig,
    CompletionConfig,
    Duration,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
)
from perdure.invocation import Succeeded
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure_core.state import Dispatch, is_open
from tests.sdk.hosted import Crash, Hosted
from tests.ways.facts import disagreement, facts
from tests.ways.hosted_way import history_of

SOON = StepConfig(RetryPresets.fixed(Duration(1)))
ONCE = replace(SOON, step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
BESIDE, LATE = "beside", "late"
ALL = CompletionConfig.all_completed()
# Longer than what is kept: the result is made again from the children.
LARGE = "x" * 262_144


@dataclass(frozen=True)
class Step:
    """A step whose first attempts fail; six are for good."""

    failures: int


@dataclass(frozen=True)
class Once:
    """A step that is run at most once, and tried again after a crash."""


@dataclass(frozen=True)
class Wait:
    """A wait."""

    milliseconds: int


@dataclass(frozen=True)
class Now:
    """The time, as it is recorded."""


@dataclass(frozen=True)
class Draw:
    """An identifier and a number, which are not recorded."""


@dataclass(frozen=True)
class Beside:
    """A wait beside a step, in a child context; it is awaited, or else cancelled in time."""

    cancelled: bool


@dataclass(frozen=True)
class Ask:
    """A callback that somebody completes."""


@dataclass(frozen=True)
class Poll:
    """A condition that is met after so many checks."""

    checks: int


@dataclass(frozen=True)
class Call:
    """An invoke of another function."""


@dataclass(frozen=True)
class Child:
    """A child context; it may be virtual, raise in the end, or return too much to be kept."""

    body: "tuple[Node, ...]"
    virtual: bool
    raises: bool
    large: bool

    def come_to(self, results: list[Any]) -> list[Any]:
        """Return what the body makes of its results, or raise it."""
        if self.raises:
            raise LookupError(repr(results))
        return [results, LARGE] if self.large else results


@dataclass(frozen=True)
class Again:
    """A block that is tried again when it has failed once."""

    body: "tuple[Node, ...]"


@dataclass(frozen=True)
class Fork:
    """A parallel with these branches, or a map whose items all do what the first one says."""

    branches: "tuple[tuple[Node, ...], ...]"
    nesting: NestingType
    concurrency: int | None
    as_map: bool
    large: bool

    def come_to(self, results: list[Any]) -> list[Any]:
        """Return what a branch makes of its results."""
        return [results, LARGE] if self.large else results


@dataclass(frozen=True)
class Compose:
    """A race of the first branch against time, a chain of fallbacks, or all; some may raise."""

    kind: str
    branches: "tuple[tuple[Node, ...], ...]"
    failing: int
    large: bool

    @property
    def config(self) -> BranchesConfig:
        """One after the other where it would depend on chance how far the others get."""
        one = self.kind == "any_of" or (self.kind == "all_of" and self.failing)
        return BranchesConfig(max_concurrency=1 if one else None)

    def come_to(self, place: int, results: list[Any]) -> list[Any]:
        """Return what a branch makes of its results, or raise it."""
        if place < self.failing:
            raise LookupError(repr(results))
        return [results, LARGE] if self.large else results


Leaf = Step | Once | Wait | Now | Draw | Ask | Poll | Call
Node = Leaf | Beside | Child | Again | Fork | Compose

LEAVES: st.SearchStrategy[Node] = (
    st.builds(Step, st.sampled_from([0, 0, 1, 2, 6]))
    | st.just(Once())
    | st.builds(Wait, st.integers(1, 50_000))
    | st.just(Now())
    | st.just(Draw())
    | st.builds(Beside, st.booleans())
    | st.just(Ask())
    | st.builds(Poll, st.integers(1, 3))
    | st.just(Call())
)
RARELY = st.sampled_from([False, False, False, True])


def grown(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    bodies = st.lists(nodes, max_size=3).map(tuple)
    children = st.builds(Child, bodies, st.booleans(), RARELY, RARELY)
    blocks = st.builds(Again, st.lists(nodes, max_size=2).map(tuple))
    forks = st.builds(
        Fork,
        st.lists(bodies, max_size=3).map(tuple),
        st.sampled_from(NestingType),
        st.sampled_from([None, 1, 2]),
        st.booleans(),
        RARELY,
    )
    composed = st.builds(
        Compose,
        st.sampled_from(["race", "any_of", "all_of"]),
        st.lists(bodies, min_size=1, max_size=3).map(tuple),
        st.sampled_from([0, 0, 1, 2]),
        RARELY,
    )
    return children | blocks | forks | composed


TREES = st.lists(st.recursive(LEAVES, grown, max_leaves=8), max_size=3).map(tuple)
CRASHES = st.lists(st.builds(Crash, st.integers(1, 40), st.booleans()), max_size=3)


def perform(context: DurableContext, body: tuple[Node, ...]) -> list[Any]:
    return [attempt(context, node, f"{place}") for place, node in enumerate(body)]


def attempt(context: DurableContext, node: Node, name: str) -> Any:
    try:
        return act(context, node, name)
    except DurableOperationError as error:
        return [type(error).__name__, str(error), error.error_type]


def act(context: DurableContext, node: Node, name: str) -> Any:
    match node:
        case Beside():
            return context.run_in_child_context(lambda inner: beside(inner, node), name)
        case Child():
            config = ChildConfig[Any](is_virtual=node.virtual)

            def nest(inner: DurableContext) -> list[Any]:
                return node.come_to(perform(inner, node.body))

            return context.run_in_child_context(nest, name, config)
        case Again(body):
            retried = WithRetryConfig[Any](SOON.retry_strategy)
            return with_retry(context, lambda inner, n: again(inner, body, n), retried, name)
        case Fork():
            return fork(context, node, name)
        case Compose():
            return compose(context, node, name)
        case _:
            return act_alone(context, node, name)


def act_alone(context: DurableContext, leaf: Leaf, name: str) -> Any:
    match leaf:
        case Step(failures):
            return context.step(lambda step: fail_until(failures, step.attempt), name, SOON)
        case Once():
            return context.step(lambda _: "once", name, ONCE)
        case Wait(milliseconds):
            return context.wait(Duration.from_milliseconds(milliseconds), name)
        case Now():
            return context.now(name).tzname()
        case Draw():
            return [str(context.uuid()), context.random().random()]
        case Ask():
            return context.wait_for_callback(lambda _id, _context: None, name)
        case Poll(checks):
            polled = WaitForConditionConfig[int](lambda state, _: go_on(state < checks), 0)
            return context.wait_for_condition(lambda state, _: state + 1, polled, name)
        case Call():
            return cast("Any", context.invoke("other", None, name))


def beside(context: DurableContext, node: Beside) -> list[Any]:
    created = context.create_wait(Duration.from_days(300 if node.cancelled else 1), BESIDE)
    done = context.step(lambda _: "done", "meanwhile")
    if node.cancelled:
        return [done, created.cancel()]
    created.result()
    return [done]


def again(context: DurableContext, body: tuple[Node, ...], attempt: int) -> list[Any]:
    results = perform(context, body)
    if attempt == 1:
        raise LookupError(repr(results))
    return results


def fail_until(failures: int, attempt: int) -> int:
    if attempt <= failures:
        raise OSError("flaky")
    return attempt


def go_on(wanted: bool) -> WaitForConditionDecision:
    if wanted:
        return WaitForConditionDecision.continue_waiting(Duration(1))
    return WaitForConditionDecision.stop_polling()


def fork(context: DurableContext, node: Fork, name: str) -> list[Any]:
    def branch(body: tuple[Node, ...]) -> Callable[[DurableContext], list[Any]]:
        return lambda inner: node.come_to(perform(inner, body))

    def item(inner: DurableContext, _item: int, _index: int, _inputs: Sequence[int]) -> list[Any]:
        return branch(node.branches[0])(inner)

    if node.as_map:
        mapped = MapConfig[int](node.concurrency, ALL, nesting_type=node.nesting)
        result = context.map(range(len(node.branches)), item, name, mapped)
    else:
        config = ParallelConfig(node.concurrency, ALL, nesting_type=node.nesting)
        result = context.parallel([branch(body) for body in node.branches], name, config)
    return [result.get_results(), result.completion_reason.value]


def compose(context: DurableContext, node: Compose, name: str) -> Any:
    def branch(place: int) -> Callable[[DurableContext], list[Any]]:
        return lambda inner: node.come_to(place, perform(inner, node.branches[place]))

    def first(inner: DurableContext) -> list[Any]:
        inner.wait(Duration(1), "until the other one waits")
        return branch(0)(inner)

    def late(inner: DurableContext) -> None:
        inner.wait(Duration.from_days(300), LATE)

    if node.kind == "race":
        return context.race([first, late], name, node.config)
    branches = [branch(place) for place in range(len(node.branches))]
    if node.kind == "any_of":
        return context.any_of(branches, name, node.config)
    return context.all_of(branches, name, node.config)


def finished(tree: tuple[Node, ...], crashes: list[Crash]) -> Hosted:
    @durable_execution(name="tree")
    def program(_: Any, context: DurableContext) -> Any:
        results = perform(context, tree)
        context.wait(Duration(1), "so that everything is replayed")
        return repr(results).replace(LARGE, "large")

    return run_to_end(program, crashes)


def run_to_end(program: DurableFunction, crashes: list[Crash]) -> Hosted:
    """Run a program, losing its worker where `crashes` say; answer what it asks of others."""
    host = Hosted(program, crashes=crashes, targets=["other"])
    host.run()
    while is_open(host.state):
        idle = host.state.dispatch is Dispatch.IDLE  # not about to be tried again after a crash
        if idle and host.state.callbacks_open:
            host.succeed_callback(f"for {host.open_callback().name}")
        elif idle and host.state.children_open:
            host.end_invoke("SUCCEEDED", '"called"')
        else:
            host.pass_time()
        host.run()
    return host


def told(host: Hosted, *, crashed: bool = True) -> tuple[str, ...]:
    """Return the history up to invocations, and what a crash is free to change."""
    return facts(history_of(host), crashed=crashed)


def assert_same(whole: Hosted, other: Hosted) -> None:
    """Demand the same result and the same history, one that is not interrupted against any."""
    assert other.outcomes[-1] == whole.outcomes[-1]
    assert (text := differences(told(whole, crashed=False), told(other))) is None, text


def differences(expected: Sequence[str], found: Sequence[str]) -> str | None:
    """Return in which two histories differ that should not; None if in nothing."""
    late = [place.rpartition("-")[0] for place in places(expected, LATE)]
    return disagreement(expected, found, meanwhile=places(expected, BESIDE), abandoned=late)


def places(lines: Sequence[str], wait: str) -> list[str]:
    """Return where the waits of this name are."""
    return [line.split()[0] for line in lines if f"WaitStarted {wait!r}" in line]


@settings(deadline=None, max_examples=100)
@given(TREES, CRASHES)
def test_crashes_change_neither_the_result_nor_the_history(
    tree: tuple[Node, ...], crashes: list[Crash]
) -> None:
    whole = finished(tree, [])
    assert isinstance(whole.outcomes[-1], Succeeded)
    assert_same(whole, finished(tree, crashes))


@settings(deadline=None, max_examples=30)
@given(TREES, CRASHES)
def test_branches_that_are_parked_come_to_the_same_end(
    tree: tuple[Node, ...], crashes: list[Crash]
) -> None:
    whole = finished(tree, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branches, "IN_PLACE_MAX", 1)
        parked = finished(tree, crashes)
    assert_same(whole, parked)
