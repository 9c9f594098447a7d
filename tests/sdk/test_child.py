"""Child contexts: one operation with operations of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    ChildContextError,
    DurableContext,
    ExecutionError,
    InvocationError,
    SerDesError,
    StepContext,
    StepError,
    ValidationError,
    durable_with_child_context,
)
from perdure.config import ChildConfig, Duration, StepConfig
from perdure.retries import RetryPresets
from perdure.serdes import JsonSerDes
from perdure.worker_api import Diverged, Failed, Outcome, Succeeded
from perdure_core.model import ContextDetails, Operation, OperationStatus
from tests.sdk.hosted import Hosted, handler

NEVER = StepConfig(retry_strategy=RetryPresets.none())


def contexts(host: Hosted) -> list[Operation]:
    return [op for op in host.state.operations.values() if isinstance(op.details, ContextDetails)]


def finished(body: Callable[[Any, DurableContext], Any]) -> tuple[Hosted, Outcome]:
    host = Hosted(handler(body))
    return host, host.finish()


def fields(error: ChildContextError) -> tuple[Any, ...]:
    cause = error.__cause__
    return (error.message, error.error_type, error.data, type(cause).__name__, str(cause))


def test_a_child_context_records_its_start_lazily_and_its_end_at_once() -> None:
    host, outcome = finished(
        lambda _, context: context.run_in_child_context(lambda child: child.step(lambda _: 7), "c")
    )
    assert outcome == Succeeded("7")
    assert [[f"{u.action} {u.type}" for u in call] for call in host.calls] == [
        ["START CONTEXT", "START STEP", "SUCCEED STEP"],
        ["SUCCEED CONTEXT"],
    ]
    (context,) = contexts(host)
    assert (context.name, context.sub_type) == ("c", "RunInChildContext")


def test_the_operations_of_a_child_are_recorded_below_it_and_counted_from_one() -> None:
    def nested(_: Any, context: DurableContext) -> Any:
        context.step(lambda _: 1)
        return context.run_in_child_context(
            lambda child: child.run_in_child_context(lambda inner: inner.step(lambda _: 2))
        )

    host, outcome = finished(nested)
    assert outcome == Succeeded("2")
    _, child, inner, step = host.state.operations.values()
    assert (child.parent_id, inner.parent_id, step.parent_id) == (None, child.id, inner.id)


def test_a_result_makes_the_round_trip_on_the_first_run_and_is_read_on_replay() -> None:
    seen: list[Any] = []

    def body(_: Any, context: DurableContext) -> None:
        config = ChildConfig[Any](serdes=JsonSerDes())
        seen.append(context.run_in_child_context(lambda _: (1, 2), "c", config))
        context.wait(Duration(5))

    finished(body)
    assert seen == [[1, 2], [1, 2]]


@pytest.mark.parametrize("virtual", [False, True])
def test_an_error_is_equal_on_the_first_run_and_on_replay(virtual: bool) -> None:
    seen: list[Any] = []

    def raising(child: DurableContext) -> None:
        child.step(lambda _: 1 / 0, "divide", NEVER)

    def body(_: Any, context: DurableContext) -> None:
        try:
            context.run_in_child_context(raising, "c", ChildConfig(is_virtual=virtual))
        except ChildContextError as error:
            seen.append(fields(error))
        context.wait(Duration(5))

    finished(body)
    assert (
        seen
        == [
            (
                "division by zero",
                "perdure.exceptions.StepError",
                None,
                "StepError",
                "division by zero",
            )
        ]
        * 2
    )


def test_a_body_is_not_run_again_once_its_result_is_recorded() -> None:
    runs: list[int] = []

    def body(_: Any, context: DurableContext) -> None:
        context.run_in_child_context(lambda _: runs.append(1))
        context.wait(Duration(5))

    finished(body)
    assert runs == [1]


def test_a_large_result_is_made_again_from_the_recorded_children() -> None:
    steps: list[int] = []
    sizes: list[int] = []

    def size(_: StepContext) -> int:
        steps.append(1)
        return 262_143

    def large(child: DurableContext) -> str:
        return "x" * child.step(size)

    def body(_: Any, context: DurableContext) -> None:
        config = ChildConfig[str](summary_generator=lambda text: f"{len(text)} characters")
        sizes.append(len(context.run_in_child_context(large, "c", config)))
        context.wait(Duration(5))

    host, outcome = finished(body)
    assert outcome == Succeeded("null")
    assert (steps, sizes) == ([1], [262_143, 262_143])
    (context,) = contexts(host)
    assert context.details == ContextDetails(True, "262143 characters")


def test_a_result_at_the_limit_is_kept() -> None:
    host, _ = finished(
        lambda _, context: len(context.run_in_child_context(lambda _: "x" * 262_142))
    )
    (context,) = contexts(host)
    assert isinstance(context.details, ContextDetails)
    assert not context.details.replay_children


def test_a_body_that_asks_for_more_when_run_again_for_its_result_is_caught() -> None:
    runs: list[int] = []

    def growing(child: DurableContext) -> str:
        runs.append(1)
        for _number in runs:
            child.step(lambda _: 1)
        return "x" * 300_000

    def body(_: Any, context: DurableContext) -> None:
        context.run_in_child_context(growing)
        context.wait(Duration(5))

    host, outcome = finished(body)
    assert isinstance(outcome, Diverged)
    assert outcome.error.type == "perdure.exceptions.NonDeterministicExecutionError"
    assert "which has ended" in (outcome.error.message or "")
    assert host.updates.count("START STEP") == 1


def test_a_virtual_context_records_nothing_and_runs_in_every_replay() -> None:
    runs: list[int] = []

    def grouped(child: DurableContext) -> int:
        runs.append(1)
        assert child.is_virtual
        child.wait(Duration(5))
        return child.step(lambda _: 3)

    host, outcome = finished(
        lambda _, context: context.run_in_child_context(grouped, "c", ChildConfig(is_virtual=True))
    )
    assert outcome == Succeeded("3")
    assert runs == [1, 1]
    assert contexts(host) == []
    assert {op.parent_id for op in host.state.operations.values()} == {None}


@pytest.mark.parametrize("virtual", [False, True])
def test_a_context_that_becomes_virtual_or_stops_being_so_is_caught(virtual: bool) -> None:
    flags = [virtual, not virtual]

    def waiting(child: DurableContext) -> None:
        child.wait(Duration(5))

    _, outcome = finished(
        lambda _, context: context.run_in_child_context(
            waiting, "c", ChildConfig(is_virtual=flags.pop(0))
        )
    )
    assert isinstance(outcome, Diverged)
    assert outcome.error.type == "perdure.exceptions.NonDeterministicExecutionError"


def test_using_the_context_of_the_parent_inside_a_child_is_caught() -> None:
    def mixed(_: Any, context: DurableContext) -> None:
        context.run_in_child_context(lambda _child: context.step(lambda _: 1, "stray"), "c")

    host, outcome = finished(mixed)
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.ExecutionError"
    assert outcome.error.message == (
        "Step stray was called on the context of the handler from inside "
        "CONTEXT (RunInChildContext) 'c'. "
        "Use the context passed to CONTEXT (RunInChildContext) 'c'."
    )
    assert host.updates == ["START CONTEXT"]


def test_using_the_context_of_a_child_after_its_body_is_caught() -> None:
    contexts: list[DurableContext] = []

    def late(_: Any, context: DurableContext) -> None:
        context.run_in_child_context(contexts.append)
        contexts[0].step(lambda _: 1)

    _, outcome = finished(late)
    assert isinstance(outcome, Failed)
    assert "from inside the handler" in (outcome.error.message or "")


def test_a_callback_of_the_parent_may_be_awaited_inside_a_child() -> None:
    def body(_: Any, context: DurableContext) -> Any:
        callback = context.create_callback("ask")
        return context.run_in_child_context(lambda _: callback.result())

    host = Hosted(handler(body))
    host.run()
    host.succeed_callback("yes")
    assert host.run() == Succeeded('"yes"')


def test_an_execution_error_fails_the_execution_and_not_the_context() -> None:
    def fatal(_child: DurableContext) -> None:
        raise ExecutionError("enough")

    host, outcome = finished(lambda _, context: context.run_in_child_context(fatal))
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "enough"
    assert "FAIL CONTEXT" not in host.updates


def test_a_retryable_invocation_error_runs_the_invocation_again() -> None:
    troubles = [InvocationError("just now")]

    def shaky(_child: DurableContext) -> str:
        while troubles:
            raise troubles.pop()
        return "fine"

    host, outcome = finished(lambda _, context: context.run_in_child_context(shaky))
    assert outcome == Succeeded('"fine"')
    assert len(host.outcomes) == 2
    assert "FAIL CONTEXT" not in host.updates


class Final(InvocationError):
    def is_retryable(self) -> bool:
        return False


def test_an_invocation_error_that_is_not_retryable_fails_the_context() -> None:
    def broken(_child: DurableContext) -> None:
        raise Final("no")

    def body(_: Any, context: DurableContext) -> Any:
        with pytest.raises(ChildContextError, match="no"):
            context.run_in_child_context(broken)
        return "caught"

    assert finished(body)[1] == Succeeded('"caught"')


def test_a_result_that_cannot_be_written_fails_the_context() -> None:
    def body(_: Any, context: DurableContext) -> Any:
        with pytest.raises(SerDesError) as caught:
            context.run_in_child_context(lambda _: object())
        return caught.value.error_type

    assert finished(body)[1] == Succeeded('"perdure.exceptions.SerDesError"')


@durable_with_child_context
def doubled(child: DurableContext, number: int) -> int:
    return child.step(lambda _: number * 2)


def test_a_decorated_body_is_bound_to_its_arguments_and_names_its_context() -> None:
    host, outcome = finished(lambda _, context: context.run_in_child_context(doubled(4)))
    assert outcome == Succeeded("8")
    assert [context.name for context in contexts(host)] == ["doubled"]


def test_a_sub_type_is_checked_and_shown() -> None:
    host, _ = finished(
        lambda _, context: context.run_in_child_context(
            lambda _: 1, None, ChildConfig(sub_type="Saga")
        )
    )
    assert [context.sub_type for context in contexts(host)] == ["Saga"]
    with pytest.raises(ValidationError):
        ChildConfig[Any](sub_type="no spaces")


def test_coroutine_functions_are_refused() -> None:
    async def later(_: Any) -> None: ...

    def body(_: Any, context: Any) -> str:
        with pytest.raises(ValidationError, match="coroutine function"):
            context.run_in_child_context(later)
        return "refused"

    assert finished(body)[1] == Succeeded('"refused"')


def test_a_child_that_is_replayed_logs_nothing_twice(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def chatty(child: DurableContext) -> None:
        child.logger.info("first")
        child.step(lambda _: 1)
        child.wait(Duration(5))
        child.logger.info("second")

    def body(_: Any, context: DurableContext) -> None:
        context.logger.info("before")
        context.run_in_child_context(chatty)
        context.logger.info("after")
        context.wait(Duration(5))
        context.logger.info("end")

    finished(body)
    assert caplog.messages == ["before", "first", "second", "after", "end"]


def test_a_step_that_failed_inside_is_the_cause_of_the_error() -> None:
    def body(_: Any, context: DurableContext) -> bool:
        with pytest.raises(ChildContextError) as caught:
            context.run_in_child_context(lambda child: child.step(lambda _: 1 / 0, None, NEVER))
        return isinstance(caught.value.__cause__, StepError)

    host, outcome = finished(body)
    assert outcome == Succeeded("true")
    assert [context.status for context in contexts(host)] == [OperationStatus.FAILED]
