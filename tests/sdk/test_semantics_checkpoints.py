"""Checkpoints: which updates are awaited, and which travel with the next one."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from perdure import ChildContextError, DurableContext, StepError, WaitForConditionError
from perdure.config import Duration, InvokeConfig, StepConfig, StepSemantics
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure_core.model import OperationUpdate
from tests.sdk.hosted import Hosted, InMemoryCheckpoints, handler

Call = Callable[[DurableContext], Any]
AT_MOST_ONCE = StepConfig(step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)


def fail(*_: Any) -> None:
    raise OSError("no")


def polling(*decisions: WaitForConditionDecision) -> Call:
    left = list(decisions)
    config = WaitForConditionConfig[Any](lambda _state, _attempt: left.pop(0), 0)
    return lambda context: context.wait_for_condition(lambda state, _: state, config)


def invoking(context: DurableContext) -> Any:
    return context.invoke("other", 1, None, InvokeConfig[Any, Any]())


def batching(context: DurableContext) -> int:
    nothing: list[Call] = []
    return context.parallel(nothing).total_count


AGAIN = WaitForConditionDecision.continue_waiting(Duration(2))
STOP = WaitForConditionDecision.stop_polling()


UPDATES: list[tuple[Call, list[str]]] = [
    (lambda context: context.step(lambda _: 1), ["START", "SUCCEED!"]),
    (lambda context: context.step(lambda _: 1, None, AT_MOST_ONCE), ["START!", "SUCCEED!"]),
    (lambda context: context.step(fail), ["START", "RETRY!"]),
    (
        lambda context: context.step(fail, None, StepConfig(RetryPresets.none())),
        ["START", "FAIL!"],
    ),
    (lambda context: context.wait(Duration(1)), ["START!"]),
    (lambda context: context.create_callback(), ["START!"]),
    (invoking, ["START!"]),
    (lambda context: context.run_in_child_context(lambda _: 1), ["START", "SUCCEED!"]),
    (lambda context: context.run_in_child_context(fail), ["START", "FAIL!"]),
    (batching, ["START", "SUCCEED!"]),
    (polling(STOP), ["START", "SUCCEED!"]),
    (polling(AGAIN), ["START", "RETRY!"]),
    (polling(), ["START", "FAIL!"]),
]


@pytest.mark.parametrize(("call", "updates"), UPDATES)
def test_what_decides_is_awaited_and_what_begins_travels_along(
    call: Call, updates: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    submit = InMemoryCheckpoints.submit

    def noting(
        checkpoints: InMemoryCheckpoints, updates: Sequence[OperationUpdate], *, urgent: bool
    ) -> Future[None]:
        seen.extend(f"{update.action.value}{'!' if urgent else ''}" for update in updates)
        return submit(checkpoints, updates, urgent=urgent)

    def body(_: Any, context: DurableContext) -> None:
        try:
            call(context)
        except (StepError, ChildContextError, WaitForConditionError):
            return

    monkeypatch.setattr(InMemoryCheckpoints, "submit", noting)
    Hosted(handler(body), targets=["other"]).deliver()
    assert seen == updates
