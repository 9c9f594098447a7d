"""Crashes of any program: the same result, and no at-most-once body twice."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import DurableContext, StepContext
from perdure.config import (
    CompletionConfig,
    Duration,
    ParallelConfig,
    StepConfig,
    StepSemantics,
)
from perdure.context import Callback
from perdure.retries import RetryPresets
from perdure.worker_api import Outcome, Succeeded
from perdure_core.state import is_open
from tests.sdk.hosted import Crash, Hosted, handler

RETRY = RetryPresets.fixed(Duration(1))


@dataclass(frozen=True)
class Step:
    """A step whose first attempts fail."""

    failures: int
    semantics: StepSemantics


@dataclass(frozen=True)
class Wait:
    """A wait."""

    seconds: int


@dataclass(frozen=True)
class Ask:
    """A callback; its result is awaited at once, or at the end of the program."""

    at_once: bool


Call = Step | Wait | Ask
# (place in the program, attempt) of every body that ran.
Ledger = Counter[tuple[int, int]]

CALLS: st.SearchStrategy[Call] = (
    st.builds(Step, st.integers(0, 2), st.sampled_from(StepSemantics))
    | st.builds(Wait, st.integers(1, 100))
    | st.builds(Ask, st.booleans())
)
CRASHES = st.builds(Crash, st.integers(1, 30), st.booleans())


def run(calls: list[Call], crashes: list[Crash]) -> tuple[Outcome, list[str], Ledger]:
    ledger: Ledger = Counter()

    def program(_: Any, context: DurableContext) -> list[Any]:
        results: list[Any] = []
        open_callbacks: list[Callback] = []
        for place, call in enumerate(calls):
            match call:
                case Step():
                    results.append(perform(context, call, place, ledger))
                case Wait(seconds):
                    context.wait(Duration(seconds), f"wait-{place}")
                case Ask(at_once):
                    callback = context.create_callback(f"ask-{place}")
                    if at_once:
                        results.append(callback.result())
                    else:
                        open_callbacks.append(callback)
        return results + [callback.result() for callback in open_callbacks]

    host = Hosted(handler(program), crashes=crashes)
    host.run()
    while is_open(host.state):
        if host.state.callbacks_open:
            host.succeed_callback(f"for {host.open_callback().name}")
        else:
            host.pass_time()
        host.run()
    ends = [name for name in host.history if name.endswith("Succeeded")]
    return host.outcomes[-1], sorted(ends), ledger


def perform(context: DurableContext, step: Step, place: int, ledger: Ledger) -> Any:
    def body(step_context: StepContext) -> str:
        ledger[place, step_context.attempt] += 1
        if step_context.attempt <= step.failures:
            raise OSError
        return f"step {place}"

    config = StepConfig(retry_strategy=RETRY, step_semantics=step.semantics)
    return context.step(body, f"step-{place}", config)


@settings(deadline=None)  # machines are busy
@given(st.lists(CALLS, max_size=6), st.lists(CRASHES, max_size=2))
def test_crashes_change_neither_the_result_nor_what_was_done(
    calls: list[Call], crashes: list[Crash]
) -> None:
    outcome, ends, ledger = run(calls, [])
    assert isinstance(outcome, Succeeded)
    assert set(ledger.values()) <= {1}
    crashed_outcome, crashed_ends, crashed_ledger = run(calls, crashes)
    assert (crashed_outcome, crashed_ends) == (outcome, ends)
    for (place, _), runs in crashed_ledger.items():
        call = calls[place]
        assert isinstance(call, Step)
        if call.semantics is StepSemantics.AT_MOST_ONCE_PER_RETRY:
            assert runs == 1


def racing(_: Any, context: DurableContext) -> list[Any]:
    """Return the values that do not depend on which branch wins."""

    def runner(inner: DurableContext) -> str:
        inner.wait(Duration(5))
        return inner.step(lambda _: "there", "arrive")

    config = ParallelConfig(completion_config=CompletionConfig.first_successful())
    result = context.parallel([runner, runner, runner], "race", config)
    after = context.step(lambda _: "went on", "after")
    return [result.completion_reason.value, result.success_count, after]


@pytest.mark.parametrize("accepted", [False, True])
def test_a_race_has_one_winner_whatever_crashes(accepted: bool) -> None:
    whole = Hosted(handler(racing))
    outcome = whole.finish()
    assert outcome == Succeeded('["MIN_SUCCESSFUL_REACHED", 1, "went on"]')
    for number in range(1, len(whole.calls) + 1):
        assert Hosted(handler(racing), None, [Crash(number, accepted)]).finish() == outcome
