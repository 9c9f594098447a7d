"""Fibers of one invocation: which of them wait, when all unwind, and which are cancelled."""

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from perdure import DurableContext
from perdure.config import CompletionConfig, Duration, MapConfig, NestingType, ParallelConfig
from perdure.drivers.blocking_branches import IN_PLACE_MAX
from perdure.exceptions import OrphanedChildException, SuspendExecution
from perdure.invocation.fibers import FiberStatus, FiberTree
from perdure.worker_api import Pending, Succeeded
from tests.sdk.hosted import Hosted, handler

FIRST = ParallelConfig(completion_config=CompletionConfig.first_successful())


class Scene:
    """A host whose branches notify each other of their progress."""

    def __init__(self, body: "Callable[[DurableContext, Scene], Any]") -> None:
        self.host = Hosted(handler(lambda _, context: body(context, self)))
        self.rested = threading.Event()

    def awaits(self, name: str) -> bool:
        """Whether an operation of this name has started."""
        return any(op.name == name for op in self.host.state.operations.values())


def wait_until_recorded(scene: Scene, name: str) -> None:
    """Wait until the other branches have recorded it. They run, so this ends."""
    tick = threading.Event()
    while not scene.awaits(name):
        tick.wait(0.001)


def test_a_branch_goes_on_in_place_when_another_hears_that_its_time_has_come() -> None:
    runs: list[str] = []

    def sleeper(context: DurableContext) -> str:
        runs.append("sleeper")
        context.wait(Duration(5), "nap")
        return "rested"

    def body(context: DurableContext, scene: Scene) -> list[Any]:
        def worker(context: DurableContext) -> str:
            wait_until_recorded(scene, "nap")
            scene.host.pass_time()
            return context.step(lambda _: "worked")

        return context.parallel([sleeper, worker]).get_results()

    scene = Scene(body)
    assert scene.host.run() == Succeeded('["rested", "worked"]')
    assert runs == ["sleeper"]
    assert len(scene.host.outcomes) == 1


@pytest.mark.parametrize("worker_ahead_ms", [0, 86_400_000, -86_400_000])
def test_a_branch_asks_for_itself_when_its_time_has_come(
    worker_ahead_ms: int,
) -> None:
    def body(context: DurableContext, scene: Scene) -> str:
        def sleeper(context: DurableContext) -> None:
            context.wait(Duration.from_milliseconds(20), "nap")
            scene.rested.set()

        def worker(_context: DurableContext) -> None:
            wait_until_recorded(scene, "nap")
            scene.host.pass_time()
            assert scene.rested.wait(30), "nobody asked"

        return context.parallel([sleeper, worker]).completion_reason.value

    scene = Scene(body)
    scene.host.worker_ahead_ms = worker_ahead_ms
    assert scene.host.run() == Succeeded('"ALL_COMPLETED"')
    assert len(scene.host.outcomes) == 1


def test_the_invocation_suspends_when_every_branch_waits() -> None:
    seen: list[type[BaseException]] = []

    def sleeper(context: DurableContext) -> None:
        try:
            context.wait(Duration(5))
        except BaseException as error:
            seen.append(type(error))
            raise

    host = Hosted(handler(lambda _, context: context.parallel([sleeper, sleeper, sleeper])))
    assert host.deliver() == Pending()
    assert len(seen) == 3
    assert all(issubclass(error, SuspendExecution) for error in seen)


@pytest.mark.parametrize("nesting", NestingType)
def test_an_abandoned_branch_stops_at_its_next_durable_call(nesting: NestingType) -> None:
    seen: list[BaseException] = []
    done = threading.Event()

    def slow(context: DurableContext) -> None:
        done.wait()
        try:
            context.step(lambda _: 1, "never")
        except BaseException as error:
            seen.append(error)
            raise

    def body(_: Any, context: DurableContext) -> str:
        config = ParallelConfig(
            completion_config=CompletionConfig.first_successful(), nesting_type=nesting
        )
        result = context.parallel([slow, lambda inner: inner.step(lambda _: 1)], "p", config)
        done.set()
        return result.completion_reason.value

    host = Hosted(handler(body))
    assert host.run() == Succeeded('"MIN_SUCCESSFUL_REACHED"')
    (error,) = seen
    assert isinstance(error, OrphanedChildException)
    assert len(error.operation_id) == 64
    assert not any(operation.name == "never" for operation in host.state.operations.values())


def test_an_abandoned_branch_that_waits_is_released() -> None:
    seen: list[type[BaseException]] = []

    def sleeper(context: DurableContext) -> None:
        try:
            context.parallel([lambda inner: inner.wait(Duration(500), "nap")])
        except BaseException as error:
            seen.append(type(error))
            raise

    def body(context: DurableContext, scene: Scene) -> str:
        def worker(_context: DurableContext) -> None:
            wait_until_recorded(scene, "nap")

        context.parallel([sleeper, worker], None, FIRST)
        return "done"

    scene = Scene(body)
    assert scene.host.run() == Succeeded('"done"')
    assert seen == [OrphanedChildException]


def test_an_abandoned_branch_cannot_fail_the_execution() -> None:
    done = threading.Event()

    def clumsy(context: DurableContext) -> None:
        done.wait()
        raise SystemExit

    def body(_: Any, context: DurableContext) -> str:
        context.parallel([clumsy, lambda _: 1], None, FIRST)
        done.set()
        return "done"

    assert Hosted(handler(body)).run() == Succeeded('"done"')


@pytest.mark.parametrize("nesting", NestingType)
def test_a_parked_branch_that_swallows_it_has_not_ended(nesting: NestingType) -> None:
    sneaky: list[int] = []

    def item(context: DurableContext, index: int, *_: Any) -> Any:
        try:
            context.wait(Duration(5))
        except BaseException:
            if index >= IN_PLACE_MAX:
                with suppress(SuspendExecution):
                    context.step(lambda _: sneaky.append(index))
                return "swallowed"
            raise
        return index

    def body(_: Any, context: DurableContext) -> bool:
        inputs = range(IN_PLACE_MAX + 3)
        config = MapConfig[int](nesting_type=nesting)
        return context.map(inputs, item, None, config).get_results() == list(inputs)

    assert Hosted(handler(body)).finish() == Succeeded("true")
    assert sneaky == []


def nap(context: DurableContext) -> None:
    context.wait(Duration(5))


def test_a_batch_in_a_parked_branch_is_parked_with_it() -> None:
    def item(context: DurableContext, index: int, *_: Any) -> int:
        return context.parallel([nap, nap]).success_count

    def body(_: Any, context: DurableContext) -> int:
        return sum(context.map(range(IN_PLACE_MAX + 3), item).get_results())

    assert Hosted(handler(body)).finish() == Succeeded(str(2 * (IN_PLACE_MAX + 3)))


def test_context_variables_reach_the_branches() -> None:
    colour: ContextVar[str] = ContextVar("colour", default="none")

    def body(_: Any, context: DurableContext) -> Any:
        colour.set("red")
        return context.parallel([lambda _: colour.get()]).get_results()

    assert Hosted(handler(body)).run() == Succeeded('["red"]')


def new_tree() -> FiberTree:
    return FiberTree(threading.Lock())


def test_an_invocation_has_something_to_do_while_one_fiber_runs() -> None:
    tree = new_tree()
    with tree.root.condition:
        branch = tree.add(tree.root, "b", parks=False)
        tree.pause(tree.root)
        assert tree.running == 1
        tree.pause(branch, "op")
        assert tree.running == 0
        tree.wake_for(["other"])
        assert tree.running == 0
        tree.wake_for(["op"])
        assert (tree.running, branch.status) == (1, FiberStatus.RUNNING)
        tree.end(branch)
        assert (tree.running, tree.root.children) == (0, {})


def test_cancelled_fibers_and_theirs_are_not_active_any_more() -> None:
    tree = new_tree()
    with tree.root.condition:
        branch = tree.add(tree.root, "b", parks=True)
        leaf = tree.add(branch, "l", parks=False)
        assert leaf.parks
        tree.pause(branch)
        tree.pause(leaf, "op")
        tree.cancel_children(tree.root)
        assert tree.running == 1
        assert branch.cancelled
        assert (leaf.cancelled, leaf.status) == (True, FiberStatus.RUNNING)
        assert tree.add(leaf, "x", parks=False).cancelled
        assert tree.running == 1
