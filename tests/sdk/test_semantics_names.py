"""Names of operations: which are taken from the function, and which never are."""

from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    DurableContext,
    StepContext,
    durable_parallel_branch,
    durable_step,
    durable_with_child_context,
)
from perdure.config import Duration, InvokeConfig
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from tests.sdk.hosted import Hosted, handler


@durable_step
def checking(step_context: StepContext) -> int:
    return step_context.attempt


@durable_with_child_context
def grouping(context: DurableContext) -> int:
    return context.step(checking())


@durable_parallel_branch()
def branching(context: DurableContext) -> int:
    return context.step(checking())


def checking_branch(context: DurableContext) -> None:
    """Do nothing."""


def names(host: Hosted) -> list[str | None]:
    return [operation.name for operation in host.state.operations.values()]


def polling(context: DurableContext) -> None:
    config = WaitForConditionConfig[Any](
        lambda _state, _attempt: WaitForConditionDecision.stop_polling(), 0
    )
    check: Any = checking()
    context.wait_for_condition(lambda _state, poll: check(poll), config)


def invoking(context: DurableContext) -> Any:
    return context.invoke("other", None, None, InvokeConfig[Any, Any]())


def batching(context: DurableContext) -> int:
    return context.parallel([checking_branch]).total_count


NAMELESS: list[Callable[[DurableContext], Any]] = [
    lambda context: context.wait(Duration(1)),
    lambda context: context.create_callback(),
    invoking,
    batching,
    polling,
]


@pytest.mark.parametrize("call", NAMELESS)
def test_these_operations_infer_no_name(call: Any) -> None:
    host = Hosted(handler(lambda _, context: call(context) and None), targets=["other"])
    host.run()
    assert names(host)[0] is None


def test_a_child_context_takes_the_name_of_its_decorated_function() -> None:
    host = Hosted(handler(lambda _, context: context.run_in_child_context(grouping())))
    host.run()
    assert names(host) == ["grouping", "checking"]


def test_a_decorated_branch_without_a_name_has_the_default_one() -> None:
    host = Hosted(handler(lambda _, context: context.parallel([branching()]).get_results()))
    host.run()
    assert names(host) == [None, "parallel-branch-0", "checking"]
