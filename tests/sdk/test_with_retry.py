"""Retried blocks of durable operations, with durable waits in between."""

from typing import Any

import pytest

from perdure import (
    ChildContextError,
    DurableContext,
    ExecutionError,
    WithRetryConfig,
    with_retry,
)
from perdure.config import ChildConfig, Duration
from perdure.retries import RetryDecision, RetryPresets
from perdure.worker_api import Failed, Succeeded
from perdure_core.model import OperationAction, OperationType
from tests.sdk.hosted import Hosted, handler

TWICE: WithRetryConfig[Any] = WithRetryConfig(
    retry_strategy=RetryPresets.fixed(Duration(7)), wrap_with_run_in_child_context=False
)


def waits(host: Hosted) -> list[tuple[str | None, int | None]]:
    return [
        (update.name, update.wait_ms)
        for call in host.calls
        for update in call
        if update.type is OperationType.WAIT and update.action is OperationAction.START
    ]


def third_time(context: DurableContext, attempt: int) -> int:
    if attempt < 3:
        raise OSError("busy")
    return context.step(lambda _: attempt)


@pytest.mark.parametrize("name", ["block", None])
def test_a_block_is_tried_again_after_durable_waits(name: str | None) -> None:
    host = Hosted(handler(lambda _, context: with_retry(context, third_time, TWICE, name)))
    assert host.finish() == Succeeded("3")
    names = [None, None] if name is None else ["block-backoff-1", "block-backoff-2"]
    assert waits(host) == [(names[0], 7_000), (names[1], 7_000)]


@pytest.mark.parametrize(
    ("delay", "waited_ms"), [(Duration(), 1_000), (Duration(0, 200), 200), (Duration(1, 1), 1_001)]
)
def test_a_block_is_tried_again_after_the_very_delay(delay: Duration, waited_ms: int) -> None:
    config = WithRetryConfig[int](lambda _error, _attempt: RetryDecision.retry(delay))
    host = Hosted(handler(lambda _, context: with_retry(context, third_time, config)))
    assert host.finish() == Succeeded("3")
    assert waits(host) == [(None, waited_ms), (None, waited_ms)]


def test_all_tries_share_a_child_context_by_default() -> None:
    config = WithRetryConfig[int](child_context_config=ChildConfig(sub_type="Block"))
    host = Hosted(handler(lambda _, context: with_retry(context, third_time, config, "block")))
    assert host.finish() == Succeeded("3")
    context = next(iter(host.state.operations.values()))
    assert (context.name, context.sub_type) == ("block", "Block")
    assert len(waits(host)) == 2


@pytest.mark.parametrize(("wrapped", "error"), [(True, ChildContextError), (False, OSError)])
def test_the_last_failure_comes_out(wrapped: bool, error: type[Exception]) -> None:
    def body(_: Any, context: DurableContext) -> str:
        config = WithRetryConfig[int](RetryPresets.none(), wrapped)
        with pytest.raises(error, match="busy"):
            with_retry(context, third_time, config)
        return "caught"

    assert Hosted(handler(body)).finish() == Succeeded('"caught"')


def test_a_suspension_is_no_failure() -> None:
    attempts: list[int] = []

    def block(context: DurableContext, attempt: int) -> str:
        attempts.append(attempt)
        context.wait(Duration(5))
        return "rested"

    host = Hosted(handler(lambda _, context: with_retry(context, block, TWICE)))
    assert host.finish() == Succeeded('"rested"')
    assert attempts == [1, 1]


def test_what_ends_the_execution_is_not_tried_again() -> None:
    attempts: list[int] = []

    def block(_context: DurableContext, attempt: int) -> None:
        attempts.append(attempt)
        raise ExecutionError("enough")

    outcome = Hosted(handler(lambda _, context: with_retry(context, block, TWICE))).finish()
    assert isinstance(outcome, Failed)
    assert attempts == [1]


def test_a_delay_below_a_second_counts_as_one() -> None:
    config = WithRetryConfig[int](lambda _error, _: RetryDecision.retry(Duration()))
    host = Hosted(handler(lambda _, context: with_retry(context, third_time, config)))
    host.finish()
    assert {wait_ms for _, wait_ms in waits(host)} == {1_000}
