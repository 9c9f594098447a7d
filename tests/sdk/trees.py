"""Random trees of operations drawn by hypothesis, for handlers of either kind."""

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from perdure.config import (
    BranchesConfig,
    CompletionConfig,
    Duration,
    NestingType,
    StepConfig,
    StepSemantics,
)
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionDecision
from tests.sdk.hosted import Crash

SOON = StepConfig(RetryPresets.fixed(Duration(1)))
ONCE = replace(SOON, step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
BESIDE, LATE = "beside", "late"
ALL = CompletionConfig.all_completed()
# Larger than what is stored: the result is rebuilt from the children.
LARGE = "x" * 262_144


@dataclass(frozen=True)
class Step:
    """A step whose first attempts fail; six are for good."""

    failures: int


@dataclass(frozen=True)
class Once:
    """A step that is run at most once, and retried after a crash."""


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
    """A callback that an outsider completes."""


@dataclass(frozen=True)
class Poll:
    """A condition that is met after so many checks."""

    checks: int


@dataclass(frozen=True)
class Call:
    """An invoke of another function."""


@dataclass(frozen=True)
class Child:
    """A child context; it can be virtual, raise in the end, or return too much to be stored."""

    body: "tuple[Node, ...]"
    virtual: bool
    raises: bool
    large: bool

    def come_to(self, results: list[Any]) -> list[Any]:
        """Return the body's result, or raise its error."""
        if self.raises:
            raise LookupError(repr(results))
        return [results, LARGE] if self.large else results


@dataclass(frozen=True)
class Again:
    """A block that is retried when it has failed once."""

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
        """Return a branch's result."""
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
        """Return a branch's result, or raise its error."""
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


def fail_until(failures: int, attempt: int) -> int:
    if attempt <= failures:
        raise OSError("flaky")
    return attempt


def go_on(waits: bool) -> WaitForConditionDecision:
    if waits:
        return WaitForConditionDecision.continue_waiting(Duration(1))
    return WaitForConditionDecision.stop_polling()
