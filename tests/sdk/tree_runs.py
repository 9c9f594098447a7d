"""Runs of random trees by a blocking handler, and comparison of two runs."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from perdure import (
    DurableContext,
    DurableFunction,
    DurableOperationError,
    WithRetryConfig,
    durable_execution,
    with_retry,
)
from perdure.config import ChildConfig, Duration, MapConfig, ParallelConfig
from perdure.waits import WaitForConditionConfig
from perdure_core.state import Dispatch, is_open
from tests.conformance.facts import disagreement, facts
from tests.conformance.hosted_mode import history_of
from tests.sdk.hosted import Crash, Hosted
from tests.sdk.trees import (
    ALL,
    BESIDE,
    LARGE,
    LATE,
    ONCE,
    SOON,
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
    """Run a program, losing its worker at each of `crashes`; complete its callbacks and invokes."""
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


def event_lines(host: Hosted, *, crashed: bool = True) -> tuple[str, ...]:
    """Return the history without invocations and all that a crash may change."""
    return facts(history_of(host), crashed=crashed)


def assert_same(whole: Hosted, other: Hosted) -> None:
    """Assert that a run has the same result and history as an uninterrupted one."""
    assert other.outcomes[-1] == whole.outcomes[-1]
    assert (text := differences(event_lines(whole, crashed=False), event_lines(other))) is None, (
        text
    )


def differences(expected: Sequence[str], found: Sequence[str]) -> str | None:
    """Return the differences between two histories that must agree, or None."""
    late = [place.rpartition("-")[0] for place in places(expected, LATE)]
    return disagreement(expected, found, meanwhile=places(expected, BESIDE), abandoned=late)


def places(lines: Sequence[str], wait: str) -> list[str]:
    """Return the places of the waits of this name."""
    return [line.split()[0] for line in lines if f"WaitStarted {wait!r}" in line]
