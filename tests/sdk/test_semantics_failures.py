"""Failures of operations as in the published SDK: which class, and where they can be caught."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    AnyOfError,
    BatchItemStatus,
    BatchResult,
    CallbackExternalError,
    ChildContextError,
    DurableContext,
    DurableOperationError,
    ExecutionError,
    InvocationError,
    InvokeError,
    SerDesError,
    StepContext,
    StepError,
    WaitForConditionError,
)
from perdure.config import (
    ChildConfig,
    CompletionConfig,
    CompletionDecision,
    CompletionStatus,
    Duration,
    MapConfig,
    NestingType,
    StepConfig,
    WaitForCallbackConfig,
    complete_batch,
    continue_batch,
)
from perdure.exceptions import RetryableSerDesError, qualified_name
from perdure.retries import RetryPresets
from perdure.serdes import JsonSerDes, PassThroughSerDes, SerDes, SerDesContext
from perdure.serdes.batch_result import BatchItem, CompletionReason
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure.worker_api import Errored, Failed, Pending, Succeeded
from perdure_core.model import ErrorObject, OperationStatus, StepDetails
from tests.sdk.hosted import Hosted, handler

NEVER = RetryPresets.none()
STOP = WaitForConditionDecision.stop_polling()


class OddSerDesError(SerDesError):
    """An error class of a user."""


class Refusing(SerDes[Any]):
    """A serdes that refuses every value."""

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        raise OddSerDesError("not mine", data="of value")

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        raise AssertionError(data)


REFUSING = Refusing()


def polled(context: DurableContext) -> Any:
    config = WaitForConditionConfig[Any](lambda _state, _attempt: STOP, 0, REFUSING)
    return context.wait_for_condition(lambda state, _: state, config)


def refused_step(context: DurableContext) -> int:
    return context.step(lambda _: 1, "s", StepConfig(serdes=REFUSING))


def one(_context: DurableContext, *_: Any) -> int:
    return 1


CALLS: dict[str, Callable[[DurableContext], Any]] = {
    "step": refused_step,
    "child": lambda context: context.run_in_child_context(one, "c", ChildConfig(REFUSING)),
    "virtual": lambda context: context.run_in_child_context(
        one, "v", ChildConfig(REFUSING, is_virtual=True)
    ),
    "condition": polled,
    "map": lambda context: context.map(
        [1], one, "m", MapConfig(serdes=REFUSING, item_serdes=JsonSerDes())
    ),
    "item": lambda context: context.map(
        [1], one, "m", MapConfig(item_serdes=REFUSING)
    ).throw_if_error(),
    "flat": lambda context: context.map(
        [1], one, "m", MapConfig(item_serdes=REFUSING, nesting_type=NestingType.FLAT)
    ).throw_if_error(),
    "inside": lambda context: context.run_in_child_context(
        lambda child: child.step(lambda _: 1, "s", StepConfig(serdes=REFUSING))
    ),
    "race": lambda context: context.race([refused_step]),
    "submitter": lambda context: context.wait_for_callback(
        lambda _id, _context: 1, config=WaitForCallbackConfig(serdes=REFUSING)
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_cannot_be_written_comes_out_as_such_on_the_first_run_and_on_replay(
    call: Callable[[DurableContext], Any],
) -> None:
    seen: list[tuple[Any, ...]] = []

    def body(_: Any, context: DurableContext) -> None:
        with pytest.raises(SerDesError) as caught:
            call(context)
        error = caught.value
        cause = error.__cause__
        assert isinstance(cause, DurableOperationError)
        seen.append((type(error), error.message, error.error_type, error.data, cause.error_type))
        context.wait(Duration(1))

    assert isinstance(Hosted(handler(body)).finish(), Succeeded)
    name = qualified_name(SerDesError)
    assert seen == 2 * [(SerDesError, "not mine", name, "of value", name)]


def test_an_invoked_function_that_fails_with_what_cannot_be_written_says_so() -> None:
    def body(_: Any, context: DurableContext) -> None:
        context.invoke("other", 1)

    host = Hosted(handler(body), targets=["other"])
    assert host.run() == Pending()
    host.end_invoke("FAILED", error=ErrorObject("no", qualified_name(SerDesError)))
    outcome = host.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == qualified_name(SerDesError)


def test_all_branches_of_any_of_may_fail_with_what_cannot_be_written() -> None:
    def body(_: Any, context: DurableContext) -> Any:
        with pytest.raises(AnyOfError) as caught:
            context.any_of([refused_step, refused_step])
        return [error.error_type for error in caught.value.errors]

    name = qualified_name(SerDesError)
    assert Hosted(handler(body)).finish() == Succeeded(json.dumps([name, name]))


class NoneAsNothing(SerDes[Any]):
    """A serdes that writes None as nothing, as the published SDK permits."""

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        nothing: Any = None
        return nothing if value is None else json.dumps(value)

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        return ["read", json.loads(data)]


def none(_context: Any, *_: Any) -> None:
    return None


NOTHING = NoneAsNothing()
NONES: dict[str, Callable[[DurableContext], Any]] = {
    "step": lambda context: context.step(none, "s", StepConfig(serdes=NOTHING)),
    "text": lambda context: context.step(none, "s", StepConfig(serdes=PassThroughSerDes())),
    "child": lambda context: context.run_in_child_context(none, "c", ChildConfig(NOTHING)),
    "item": lambda context: context.map(
        [1], none, "m", MapConfig(item_serdes=NOTHING)
    ).get_results()[0],
}


@pytest.mark.parametrize("call", NONES.values(), ids=NONES)
def test_what_a_serdes_writes_nothing_of_is_none_and_is_not_read(
    call: Callable[[DurableContext], Any],
) -> None:
    seen: list[Any] = []

    def body(_: Any, context: DurableContext) -> None:
        seen.append(call(context))
        context.wait(Duration(1))

    assert Hosted(handler(body)).finish() == Succeeded("null")
    assert seen == [None, None]


def test_a_state_that_is_not_written_starts_again() -> None:
    def strategy(_state: Any, attempt: int) -> WaitForConditionDecision:
        return STOP if attempt == 2 else WaitForConditionDecision.continue_waiting(Duration(1))

    seen: list[Any] = []

    def body(_: Any, context: DurableContext) -> Any:
        config = WaitForConditionConfig[Any](strategy, 7, NOTHING)
        return context.wait_for_condition(lambda state, _: seen.append(state), config)

    assert Hosted(handler(body)).finish() == Succeeded("null")
    assert seen == [["read", 7], ["read", 7]]


def test_a_submitter_without_a_result_may_have_a_serdes_of_text() -> None:
    config = WaitForCallbackConfig(serdes=PassThroughSerDes())
    host = Hosted(
        handler(lambda _, context: context.wait_for_callback(lambda _id, _: None, "ask", config))
    )
    assert host.run() == Pending()
    host.succeed_callback("yes")
    assert host.run() == Succeeded('"yes"')


class Reluctant(InvocationError):
    """An error that is not retried."""

    def is_retryable(self) -> bool:
        return False


@pytest.mark.parametrize("error", [InvocationError("away"), Reluctant("away")])
def test_an_invocation_error_of_a_body_is_for_the_retries_of_its_step(error: Exception) -> None:
    attempts: list[int] = []

    def work(step_context: StepContext) -> None:
        attempts.append(step_context.attempt)
        raise error

    def body(_: Any, context: DurableContext) -> Any:
        with pytest.raises(StepError) as caught:
            context.step(work, "s", StepConfig(retry_strategy=RetryPresets.fixed(Duration(1))))
        return [caught.value.message, caught.value.error_type]

    expected = json.dumps(["away", qualified_name(type(error))])
    assert Hosted(handler(body)).finish() == Succeeded(expected)
    assert attempts == [1, 2, 3, 4, 5]


def test_a_body_whose_storage_is_away_runs_the_invocation_again() -> None:
    def work(_: StepContext) -> None:
        raise RetryableSerDesError("away")

    host = Hosted(handler(lambda _, context: context.step(work, "s")))
    assert isinstance(host.deliver(), Errored)


def checked(error: Exception) -> Callable[[Any, DurableContext], Any]:
    def check(_state: Any, _context: Any) -> None:
        raise error

    def body(_: Any, context: DurableContext) -> Any:
        config = WaitForConditionConfig[Any](lambda _state, _attempt: STOP, 0)
        return context.wait_for_condition(check, config)

    return body


def test_an_invocation_error_of_a_check_fails_it_unless_it_may_be_tried_again() -> None:
    assert isinstance(Hosted(handler(checked(InvocationError("away")))).deliver(), Errored)
    outcome = Hosted(handler(checked(Reluctant("away")))).finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == qualified_name(WaitForConditionError)


def test_an_execution_error_of_a_check_fails_the_execution() -> None:
    host = Hosted(handler(checked(ExecutionError("enough"))))
    outcome = host.finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == qualified_name(ExecutionError)
    assert [each.status for each in host.state.operations.values()] == [OperationStatus.STARTED]


def test_an_execution_error_that_is_swallowed_fails_the_execution_all_the_same() -> None:
    def work(_: StepContext) -> None:
        raise ExecutionError("enough")

    def body(_: Any, context: DurableContext) -> str:
        with pytest.raises(ExecutionError):
            context.step(work, "s")
        return "on"

    outcome = Hosted(handler(body)).finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "enough"


def test_a_strategy_that_raises_fails_the_execution_and_is_named() -> None:
    def strategy(_error: Exception, _attempt: int) -> Any:
        raise LookupError("no plan")

    def work(_: StepContext) -> None:
        raise ValueError("work")

    config = StepConfig(retry_strategy=strategy)
    outcome = Hosted(handler(lambda _, context: context.step(work, "s", config))).finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == qualified_name(ExecutionError)
    assert "no plan" in (outcome.error.message or "")


def test_a_strategy_cannot_change_the_state_that_is_returned() -> None:
    def strategy(state: dict[str, int], attempt: int) -> WaitForConditionDecision:
        state["attempt"] = attempt
        return STOP

    def body(_: Any, context: DurableContext) -> Any:
        config = WaitForConditionConfig[dict[str, int]](strategy, {})
        return context.wait_for_condition(lambda _state, _: {"n": 1}, config)

    assert Hosted(handler(body)).finish() == Succeeded('{"n": 1}')


def test_a_failed_condition_shows_no_state_beside_its_error() -> None:
    def strategy(_state: int, attempt: int) -> WaitForConditionDecision:
        if attempt == 2:
            raise LookupError("gone")
        return WaitForConditionDecision.continue_waiting(Duration(1))

    config = WaitForConditionConfig[int](strategy, 0)
    host = Hosted(
        handler(lambda _, context: context.wait_for_condition(lambda state, _: state, config))
    )
    assert isinstance(host.finish(), Failed)
    (operation,) = host.state.operations.values()
    assert isinstance(operation.details, StepDetails)
    assert operation.details.result is None
    assert operation.details.error is not None


def test_the_cause_of_what_a_virtual_context_raises_is_a_stand_in() -> None:
    def failing(_: DurableContext) -> None:
        raise LookupError("lost")

    def body(_: Any, context: DurableContext) -> Any:
        with pytest.raises(ChildContextError) as caught:
            context.run_in_child_context(failing, "v", ChildConfig(is_virtual=True))
        return type(caught.value.__cause__).__name__

    assert Hosted(handler(body)).finish() == Succeeded('"DurableOperationError"')


FAILED = BatchItem[int](3, BatchItemStatus.FAILED, error=ErrorObject("m", "T"))


def test_a_failed_branch_is_thrown_whatever_a_predicate_made_of_the_batch() -> None:
    result = BatchResult([FAILED], CompletionReason.CUSTOM_COMPLETION_SUCCEEDED)
    assert result.status is BatchItemStatus.SUCCEEDED
    with pytest.raises(ChildContextError, match="m"):
        result.throw_if_error()


def test_a_failed_branch_without_a_record_of_why_is_thrown_too() -> None:
    result = BatchResult(
        [BatchItem[int](3, BatchItemStatus.FAILED)], CompletionReason.ALL_COMPLETED
    )
    with pytest.raises(ChildContextError, match="Branch 3 failed"):
        result.throw_if_error()


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (complete_batch(), CompletionReason.CUSTOM_COMPLETION_SUCCEEDED),
        (continue_batch(), CompletionReason.ALL_COMPLETED),
    ],
)
def test_the_predicate_is_asked_for_a_reason_that_was_not_written(
    decision: CompletionDecision, reason: CompletionReason
) -> None:
    def predicate(status: CompletionStatus) -> CompletionDecision:
        assert [each.status for each in status.items] == [BatchItemStatus.FAILED]
        return decision

    config = CompletionConfig(should_complete=predicate)
    assert BatchResult[int].from_items([FAILED], config).completion_reason is reason


@pytest.mark.parametrize("error_class", [StepError, InvokeError, SerDesError])
def test_an_unrecorded_error_has_the_name_of_its_class_as_type(
    error_class: type[DurableOperationError | SerDesError],
) -> None:
    assert error_class("m").error_type == qualified_name(error_class)
    assert error_class("m", "T").error_type == "T"


def test_a_callback_that_was_failed_without_a_message_has_one() -> None:
    host = Hosted(handler(lambda _, context: context.create_callback("ask").result()))
    assert host.run() == Pending()
    host.fail_callback(ErrorObject(type="Denied"))
    outcome = host.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == qualified_name(CallbackExternalError)
    assert outcome.error.message == "The callback is failed, without a message."


def test_an_empty_sub_type_is_none() -> None:
    host = Hosted(
        handler(lambda _, context: context.step(lambda _: 1, "s", StepConfig(sub_type="")))
    )
    host.finish()
    assert [each.sub_type for each in host.state.operations.values()] == ["Step"]


def test_what_was_written_when_it_was_not_refused_is_made_again() -> None:
    settings = ChildConfig[Any](serdes=JsonSerDes())
    values = iter([{"2": 1, "text": "t" * 300}])

    def body(_: Any, context: DurableContext) -> int:
        lost = {2: 0, "2": 1, "text": "t" * 300}
        value = context.run_in_child_context(lambda _: next(values, lost), "large", settings)
        context.wait(Duration(1))
        return len(value)

    assert Hosted(handler(body), result_bytes_max=256).finish() == Succeeded("2")
