"""Identity of durable calls: which differences count, and which do not."""

from collections.abc import Callable
from typing import Any

import pytest

from perdure import DurableContext
from perdure.config import (
    CallbackConfig,
    Duration,
    InvokeConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
)
from perdure.operations.identity import operation_id
from perdure.retries import RetryPresets
from perdure.serdes import JsonSerDes
from perdure.worker_api import Succeeded
from tests.sdk.hosted import Hosted, handler

Call = Callable[[DurableContext], Any]


def invoking(context: DurableContext, function: str, config: InvokeConfig[Any, Any] | None) -> Any:
    return context.invoke(function, function, "same", config)


PAIRS: list[tuple[Call, Call]] = [
    (
        lambda context: context.step(lambda _: 1, "same"),
        lambda context: context.step(
            lambda _: 2, "same", StepConfig(RetryPresets.none(), serdes=JsonSerDes())
        ),
    ),
    (
        lambda context: context.wait(Duration(3), "same"),
        lambda context: context.wait(Duration(4_000), "same"),
    ),
    (
        lambda context: context.create_callback("same").callback_id,
        lambda context: context.create_callback("same", CallbackConfig(Duration(5))).callback_id,
    ),
    (
        lambda context: invoking(context, "missing", InvokeConfig(JsonSerDes())),
        lambda context: invoking(context, "missing-too", None),
    ),
]


@pytest.mark.parametrize(("first", "again"), PAIRS)
def test_arguments_are_not_compared(first: Call, again: Call) -> None:
    calls = [first, again]
    seen: list[str] = []

    def body(_: Any, context: DurableContext) -> None:
        call = calls.pop(0) if len(calls) > 1 else calls[0]
        try:
            seen.append(repr(call(context)))
        except Exception as error:  # noqa: BLE001 - equal, whatever it is
            seen.append(repr(error))
        context.wait(Duration(1))

    host = Hosted(handler(body))
    assert host.finish() == Succeeded("null")
    assert len(host.outcomes) >= 2
    assert set(seen) == {seen[0]}
    assert len(host.state.operations) == 2


def test_a_call_beyond_what_is_recorded_is_simply_made() -> None:
    calls = [1, 2]

    def body(_: Any, context: DurableContext) -> int:
        context.wait(Duration(5))
        return sum(context.step(lambda _: 1) for _ in range(calls.pop(0)))

    host = Hosted(handler(body))
    host.run()
    calls.pop(0)
    assert host.finish() == Succeeded("2")


@pytest.mark.parametrize("nesting", list(NestingType))
def test_branches_count_from_their_place_in_the_batch(nesting: NestingType) -> None:
    def body(_: Any, context: DurableContext) -> None:
        branches: list[Call] = [lambda branch: branch.step(lambda _: 1)] * 2
        context.parallel(branches, "p", ParallelConfig(nesting_type=nesting))

    host = Hosted(handler(body))
    host.run()
    batch = operation_id(None, 1)
    branches = [operation_id(batch, index) for index in range(2)]
    steps = {operation_id(branch, 1) for branch in branches}
    nested = set(branches) if nesting is NestingType.NESTED else set[str]()
    assert set(host.state.operations) == {batch} | nested | steps
