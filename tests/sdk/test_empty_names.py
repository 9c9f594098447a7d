"""Empty names: refused, but for operations that are recorded from when they counted as none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from perdure import DurableContext, ValidationError, durable_step
from perdure.config import ChildConfig, Duration, MapConfig, ParallelBranch
from perdure.retries import RetryPresets, WithRetryConfig, with_retry
from perdure.worker_api import Succeeded
from perdure_core.model import OperationType
from tests.sdk.hosted import Hosted, handler


def one(*_: object) -> int:
    return 1


@durable_step
def decorated(_: object) -> int:
    """Return 1."""
    return 1


def namer(name: str | None) -> Any:
    def named(_item: object, _index: int) -> str | None:
        return name

    return named


def step_inside(child: DurableContext) -> int:
    return child.step(one, "inside")


RETRIED = WithRetryConfig[int](RetryPresets.fixed(Duration(1)))
IN_PLACE = replace(RETRIED, wrap_with_run_in_child_context=False)

NAMED: dict[str, Callable[[Any, str | None], object]] = {
    "step": lambda context, name: context.step(one, name),
    "decorated step": lambda context, name: context.step(decorated(), name),
    "wait": lambda context, name: context.wait(Duration(1), name),
    "created wait": lambda context, name: context.create_wait(Duration(1), name),
    "callback": lambda context, name: context.create_callback(name),
    "wait for a callback": lambda context, name: context.wait_for_callback(one, name),
    "invoke": lambda context, name: context.invoke("f", None, name),
    "child": lambda context, name: context.run_in_child_context(one, name),
    "virtual child": lambda context, name: context.run_in_child_context(
        step_inside, name, ChildConfig(is_virtual=True)
    ),
    "retried block": lambda context, name: with_retry(context, fail_once, RETRIED, name),
    "retried block in place": lambda context, name: with_retry(context, fail_once, IN_PLACE, name),
    "map": lambda context, name: context.map([1], one, name),
    "item": lambda context, name: context.map([1], one, "m", MapConfig(item_namer=namer(name))),
    "branch": lambda context, name: context.parallel([ParallelBranch(one, name)]),
    "branch of a race": lambda context, name: context.race([ParallelBranch(one, name)]),
    "race": lambda context, name: context.race([one], name),
    "time": lambda context, name: context.now(name),
}


def fail_once(_context: DurableContext, attempt: int) -> int:
    if attempt == 1:
        raise LookupError("once")
    return attempt


@pytest.mark.parametrize("call", NAMED.values(), ids=NAMED)
def test_an_empty_name_is_refused_and_takes_no_place(
    call: Callable[[Any, str | None], object],
) -> None:
    def body(_: Any, context: DurableContext) -> None:
        with pytest.raises(ValidationError, match="1 to 256 printable ASCII characters, got ''"):
            call(context, "")
        context.step(lambda _: 1, "first")

    host = Hosted(handler(body), targets=["f"])
    assert host.finish() == Succeeded("null")
    assert [each.name for each in host.state.operations.values()] == ["first"]


@pytest.mark.parametrize("call", NAMED.values(), ids=NAMED)
def test_a_call_that_was_recorded_when_an_empty_name_was_none_goes_on(
    call: Callable[[Any, str | None], object],
) -> None:
    names = iter([None])

    def body(_: Any, context: DurableContext) -> str:
        call(context, next(names, ""))
        context.wait(Duration(1), "end")
        return "ended"

    host = Hosted(handler(body), targets=["f"])
    host.run()
    for each in host.state.operations.values():
        if each.type is OperationType.CALLBACK:
            host.succeed_callback("1")
        elif each.type is OperationType.CHAINED_INVOKE:
            host.end_invoke("SUCCEEDED", "1")
    assert host.finish() == Succeeded('"ended"')
    assert len(host.outcomes) > 1
