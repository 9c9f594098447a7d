"""Random trees of operations, with crashes: the same result and the same history."""

import pytest
from hypothesis import example, given, settings

from perdure.drivers import blocking_branches
from perdure.worker_api import Succeeded
from tests.sdk.hosted import Crash
from tests.sdk.tree_runs import assert_same, finished
from tests.sdk.trees import CRASHES, TREES, Beside, Compose, Node, Once


@settings(deadline=None, max_examples=100)
@given(TREES, CRASHES)
def test_crashes_change_neither_the_result_nor_the_history(
    tree: tuple[Node, ...], crashes: list[Crash]
) -> None:
    whole = finished(tree, [])
    assert isinstance(whole.outcomes[-1], Succeeded)
    assert_same(whole, finished(tree, crashes))


# The branch that lost had started, although its race is decided again before it could.
DECIDED_AGAIN = (Once(), Compose("race", ((Beside(cancelled=False),),), 0, large=True))


@settings(deadline=None, max_examples=30)
@example(DECIDED_AGAIN, [Crash(9, accepted=False)])
@given(TREES, CRASHES)
def test_branches_that_are_parked_come_to_the_same_end(
    tree: tuple[Node, ...], crashes: list[Crash]
) -> None:
    whole = finished(tree, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocking_branches, "IN_PLACE_MAX", 1)
        parked = finished(tree, crashes)
    assert_same(whole, parked)
