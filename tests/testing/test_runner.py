"""The runner of the testing kit: the real core on a virtual clock."""

import threading
from typing import Any

import pytest

from perdure import (
    DurableContext,
    InvocationError,
    InvokeError,
    PlainContext,
    durable_execution,
    plain_function,
)
from perdure.config import CallbackConfig, Duration, InvokeConfig
from perdure.context import durable_with_child_context
from perdure.testing import (
    CallbackOperation,
    ContextOperation,
    DurableChildContextTestRunner,
    DurableFunctionsTestError,
    DurableFunctionTestRunner,
    InvocationStatus,
    InvokeOperation,
    StepOperation,
    WaitOperation,
)
from perdure.types import WaitForCallbackContext
from perdure_core.model import ErrorObject, ExecutionStatus, OperationStatus
from tests.testing.programs import YEAR, Flaky, approval, double, flaky, nested


def kinds(runner: DurableFunctionTestRunner, arn: str) -> list[str]:
    return [event.event_type for event in runner.get_execution_history(arn).events]


def test_a_callback_is_awaited_completed_and_its_result_returned() -> None:
    with DurableFunctionTestRunner(approval) as runner:
        arn = runner.run_async({"number": 4})
        runner.send_callback_success(runner.wait_for_callback(arn, "approval"), "granted")
        result = runner.wait_for_result(arn)
    assert result.value == {"doubled": 8, "answer": "granted"}
    assert result.status is InvocationStatus.SUCCEEDED
    assert result.execution_status is ExecutionStatus.SUCCEEDED


def test_the_input_may_be_json_text() -> None:
    with DurableFunctionTestRunner(lambda event, _context: event) as runner:
        assert runner.run('{"number": 4}').value == {"number": 4}
        assert runner.run('"text"').value == "text"


def test_text_that_is_no_json_is_refused_with_advice() -> None:
    with (
        DurableFunctionTestRunner(approval) as runner,
        pytest.raises(DurableFunctionsTestError, match=r"json\.dumps"),
    ):
        runner.run("number")


def test_operations_are_found_by_name_as_what_they_are() -> None:
    with DurableFunctionTestRunner(nested) as runner:
        result = runner.run()
    one = result.get_context("one")
    assert [type(each) for each in one.child_operations] == [
        StepOperation,
        WaitOperation,
        StepOperation,
    ]
    assert (one.get_step("first").value, one.value, result.value) == (2, 6, 12)
    assert result.get_wait("between").status is OperationStatus.SUCCEEDED
    assert [each.name for each in result.operations] == ["one", "between", "two"]
    assert len(result.get_all_operations()) == 9
    assert result.get_execution().name == "execution-1"


def test_an_operation_of_another_name_or_kind_is_refused_with_what_there_is() -> None:
    with DurableFunctionTestRunner(nested) as runner:
        result = runner.run()
    with pytest.raises(DurableFunctionsTestError, match="operations: 'one', 'between', 'two'"):
        result.get_step("three")
    with pytest.raises(DurableFunctionsTestError, match="'between' is a WAIT"):
        result.get_step("between")
    with pytest.raises(DurableFunctionsTestError, match="'first' is a STEP"):
        result.get_context("first")


def test_a_year_of_waits_passes_in_virtual_time() -> None:
    def handler(_event: Any, context: DurableContext) -> int:
        for _ in range(365):
            context.wait(Duration.from_days(1))
        return 365

    with DurableFunctionTestRunner(handler) as runner:
        began = runner.now
        assert runner.run().value == 365
        assert (runner.now - began).total_seconds() == YEAR.seconds


def test_retries_wait_as_long_as_their_strategy_says() -> None:
    body = Flaky(failures=3)
    with DurableFunctionTestRunner(flaky(body)) as runner:
        result = runner.run()
    step = result.get_step("flaky")
    assert (result.value, step.attempt, body.runs) == (4, 4, 4)
    assert step.end_timestamp is not None
    assert step.start_timestamp is not None
    assert (step.end_timestamp - step.start_timestamp).total_seconds() >= 3


def test_an_uncompleted_callback_times_out() -> None:
    with DurableFunctionTestRunner(approval) as runner:
        result = runner.run({"number": 1})
    assert result.execution_status is ExecutionStatus.FAILED
    assert result.get_callback("approval").status is OperationStatus.TIMED_OUT


def test_heartbeats_keep_a_callback_open() -> None:
    with DurableFunctionTestRunner(approval) as runner:
        arn = runner.run_async({"number": 1})
        callback_id = runner.wait_for_callback(arn)
        for _ in range(3):
            runner.skip(Duration(400))
            runner.send_callback_heartbeat(callback_id)
        runner.send_callback_success(callback_id, "late")
        assert runner.wait_for_result(arn).value["answer"] == "late"


def test_without_heartbeats_it_times_out_and_with_it_the_handler_fails() -> None:
    with DurableFunctionTestRunner(approval) as runner:
        arn = runner.run_async({"number": 1})
        callback_id = runner.wait_for_callback(arn)
        runner.skip(Duration(601))
        with pytest.raises(DurableFunctionsTestError, match="is already TIMED_OUT"):
            runner.send_callback_success(callback_id, "too late")


def test_a_callback_may_be_completed_again_with_the_same_result_alone() -> None:
    with DurableFunctionTestRunner(approval) as runner:
        arn = runner.run_async({"number": 1})
        callback_id = runner.wait_for_callback(arn)
        for _ in range(2):
            runner.send_callback_success(callback_id, "yes")
        with pytest.raises(DurableFunctionsTestError, match="is already SUCCEEDED"):
            runner.send_callback_success(callback_id, "no")


def test_a_failed_callback_fails_its_handler_with_the_error_given() -> None:
    with DurableFunctionTestRunner(approval) as runner:
        arn = runner.run_async({"number": 1})
        runner.send_callback_failure(
            runner.wait_for_callback(arn), ErrorObject("no money", "Refusal")
        )
        result = runner.wait_for_result(arn)
    callback = result.get_callback("approval")
    assert isinstance(callback, CallbackOperation)
    assert callback.error == ErrorObject("no money", "Refusal")
    with pytest.raises(DurableFunctionsTestError, match="no money") as failure:
        _ = result.value
    assert "CallbackFailed" in str(failure.value)


def test_a_callback_that_was_completed_is_not_waited_for() -> None:
    with DurableFunctionTestRunner(approval) as runner:
        arn = runner.run_async({"number": 1})
        runner.send_callback_success(runner.wait_for_callback(arn, "approval"), "yes")
        with pytest.raises(DurableFunctionsTestError, match="SUCCEEDED already"):
            runner.wait_for_callback(arn, "approval")


def submit(_callback_id: str, _context: WaitForCallbackContext) -> None:
    """Do nothing with the callback id."""


def test_a_callback_is_found_by_the_name_that_the_program_gave() -> None:
    def ask_twice(_event: object, context: DurableContext) -> list[str]:
        return [context.wait_for_callback(submit, "approval") for _ in range(2)]

    with DurableFunctionTestRunner(ask_twice) as runner:
        arn = runner.run_async()
        first = runner.wait_for_callback(arn, "approval")
        runner.send_callback_success(first, "yes")
        second = runner.wait_for_callback(arn, "approval")
        assert second not in (None, first)
        assert runner.wait_for_callback(arn, "approval create callback id") == second
        runner.send_callback_success(second, "no")
        assert runner.wait_for_result(arn).value == ["yes", "no"]


def test_an_execution_that_ends_without_a_callback_says_so() -> None:
    with DurableFunctionTestRunner(lambda _event, _context: 1) as runner:
        arn = runner.run_async()
        with pytest.raises(DurableFunctionsTestError, match="was never created"):
            runner.wait_for_callback(arn, "approval")


def test_waiting_for_what_can_never_happen_fails_at_once_and_says_why() -> None:
    with DurableFunctionTestRunner(lambda _, context: context.create_callback("x").result()) as it:
        arn = it.run_async()
        with pytest.raises(DurableFunctionsTestError, match="waiting for callback 'x'"):
            it.wait_for_result(arn)


def test_an_execution_timeout_comes_in_virtual_time() -> None:
    with DurableFunctionTestRunner(approval, execution_timeout=60) as runner:
        assert runner.run({"number": 1}).execution_status is ExecutionStatus.TIMED_OUT


def test_a_stopped_execution_has_ended() -> None:
    with DurableFunctionTestRunner(approval) as runner:
        arn = runner.run_async({"number": 1})
        runner.wait_for_callback(arn)
        runner.stop_execution(arn, "enough")
        result = runner.wait_for_result(arn)
    assert result.execution_status is ExecutionStatus.STOPPED
    assert result.error == ErrorObject("enough")


def test_a_paused_execution_goes_on_when_it_is_resumed() -> None:
    started, finish = threading.Event(), threading.Event()

    def body(_context: object) -> str:
        started.set()
        assert finish.wait(60)
        return "done"

    def handler(_event: Any, context: DurableContext) -> list[str]:
        return [context.step(body, name="first"), context.step(body, name="second")]

    with DurableFunctionTestRunner(handler) as runner:
        arn = runner.run_async()
        assert started.wait(60)
        pausing = threading.Thread(target=runner.pause_execution, args=(arn,))
        pausing.start()
        finish.set()
        pausing.join(60)
        with pytest.raises(DurableFunctionsTestError, match="PAUSED, waiting to be resumed"):
            runner.wait_for_result(arn)
        runner.resume_execution(arn)
        assert runner.wait_for_result(arn).value == ["done", "done"]
        assert kinds(runner, arn).count("ExecutionPaused") == 1


def parent(event: Any, context: DurableContext) -> list[Any]:
    return [
        context.invoke("child", event, name="durable"),
        context.invoke("plain", event, name="plain"),
    ]


def child(event: Any, context: DurableContext) -> Any:
    context.wait(Duration(30))
    return event + 1


def twice(event: int) -> int:
    return 2 * event


def test_functions_invoke_registered_ones() -> None:
    with DurableFunctionTestRunner(parent) as runner:
        runner.register_durable_function("child", child)
        runner.register_function("plain", twice)
        result = runner.run(20)
        assert result.value == [21, 40]
        invoke = result.get_invoke("durable")
        assert invoke.value == 21
        assert invoke.execution_arn is not None
        assert kinds(runner, invoke.execution_arn)[-1] == "ExecutionSucceeded"


def test_a_plain_function_may_ask_who_it_is() -> None:
    def handler(_event: Any, context: DurableContext) -> str:
        return context.invoke("who", None)

    with DurableFunctionTestRunner(handler) as runner:
        runner.register_function("who", lambda _event, context: context.function_name)
        assert runner.run().value == "who"


@plain_function(name="elsewhere", execution_timeout=Duration(60), tenant_isolation=True)
async def thrice(event: int, context: PlainContext) -> list[Any]:
    return [3 * event, context.function_name, context.tenant_id, context.remaining_s]


def test_decorated_plain_functions_are_invoked_too() -> None:
    def handler(event: int, context: DurableContext) -> Any:
        return context.invoke("thrice", event, config=InvokeConfig[Any, Any](tenant_id="blue"))

    with DurableFunctionTestRunner(handler) as runner:
        runner.register_function("thrice", thrice)
        result = runner.run(7)
        assert result.value == [21, "thrice", "blue", 60.0]
        (invoke,) = (each for each in result.operations if isinstance(each, InvokeOperation))
        assert invoke.execution_arn is not None
        assert kinds(runner, invoke.execution_arn) == [
            "ExecutionStarted",
            "InvocationCompleted",
            "ExecutionSucceeded",
        ]


def test_a_plain_function_may_be_the_one_under_test() -> None:
    with DurableFunctionTestRunner(thrice) as runner:
        assert runner.run(1, tenant_id="red").value == [3, "elsewhere", "red", 60.0]
        assert runner.run(1, function_name="other", tenant_id="red").value[1] == "other"


@durable_execution(tenant_isolation=True)
def apart(event: Any, context: DurableContext) -> Any:
    return context.step(lambda _: event)


@pytest.mark.parametrize("function_name", [None, "renamed", "registered"])
def test_a_function_that_keeps_tenants_apart_wants_one_named(function_name: str | None) -> None:
    with DurableFunctionTestRunner(apart) as runner:
        runner.register_durable_function("registered", apart)
        with pytest.raises(DurableFunctionsTestError, match="Add a valid tenant ID"):
            runner.run(7, function_name=function_name)
        assert runner.run(7, function_name=function_name, tenant_id="acme").value == 7


def test_other_functions_want_no_tenant_named() -> None:
    with (
        DurableFunctionTestRunner(nested) as runner,
        pytest.raises(DurableFunctionsTestError, match="Remove the tenant ID"),
    ):
        runner.run(tenant_id="acme")


def failing_invoke(target: str, config: InvokeConfig[Any, Any]) -> Any:
    """Return a handler that returns the error of its invoke."""

    def handler(_event: Any, context: DurableContext) -> Any:
        try:
            return context.invoke(target, 7, config=config)
        except InvokeError as error:
            return [error.error_type, error.message]

    return handler


@pytest.mark.parametrize(
    ("function", "tenant", "advice"),
    [
        ("apart", None, "Add a valid tenant ID"),
        ("thrice", None, "Add a valid tenant ID"),
        ("twice", "acme", "Remove the tenant ID"),
    ],
)
def test_a_child_without_its_tenant_or_with_one_too_many_fails(
    function: str, tenant: str | None, advice: str
) -> None:
    handler = failing_invoke(function, InvokeConfig[Any, Any](tenant_id=tenant))
    with DurableFunctionTestRunner(handler) as runner:
        runner.register_durable_function("apart", apart)
        runner.register_function("thrice", thrice)
        runner.register_function("twice", twice)
        kind, message = runner.run().value
        assert kind == "InvalidParameterValueException"
        assert advice in message


@pytest.mark.parametrize("target", ["twice:7", "twice:live", "nobody"])
def test_a_target_that_does_not_exist_fails_its_invoke(target: str) -> None:
    with DurableFunctionTestRunner(failing_invoke(target, InvokeConfig())) as runner:
        runner.register_function("twice", twice)
        missing = ["ResourceNotFoundException", f"Function not found: {target}"]
        assert runner.run().value == missing


def test_a_plain_function_whose_invocation_breaks_runs_again() -> None:
    runs: list[int] = []

    @plain_function
    def shaky(_event: Any, _context: PlainContext) -> int:
        runs.append(1)
        if len(runs) < 3:
            raise InvocationError("away")
        return len(runs)

    with DurableFunctionTestRunner(shaky) as runner:
        assert runner.run().value == 3


def test_a_plain_function_is_not_registered_as_a_durable_one() -> None:
    with (
        DurableFunctionTestRunner(parent) as runner,
        pytest.raises(DurableFunctionsTestError, match="Use register_function"),
    ):
        runner.register_durable_function("thrice", thrice)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_unregistered_function_cannot_be_invoked() -> None:
    with DurableFunctionTestRunner(parent) as runner:
        result = runner.run(1)
    error = result.get_invoke("durable").error
    assert error is not None
    assert error.type == "ResourceNotFoundException"


def test_two_runs_leave_the_same_history_to_the_millisecond() -> None:
    def history() -> object:
        with DurableFunctionTestRunner(parent) as runner:
            runner.register_durable_function("child", child)
            runner.register_function("plain", twice)
            runner.run(20)
            return runner.timeline()

    assert history() == history()


def test_invocations_that_always_break_are_not_tried_for_a_year() -> None:
    def handler(_event: Any, _context: DurableContext) -> None:
        raise InvocationError("away")

    with (
        DurableFunctionTestRunner(handler) as runner,
        pytest.raises(DurableFunctionsTestError, match="50 invocations in a row failed"),
    ):
        runner.run()


def test_real_time_can_be_asked_for() -> None:
    def handler(_event: Any, context: DurableContext) -> str:
        config = CallbackConfig(timeout=Duration(1))
        try:
            context.create_callback("late", config).result()
        except Exception as error:  # noqa: BLE001 - any will do
            return type(error).__name__
        return "in time"

    with DurableFunctionTestRunner(handler, skip_time=False) as runner:
        began = runner.now
        assert runner.run().value == "CallbackTimeoutError"
        assert (runner.now - began).total_seconds() >= 1
        with pytest.raises(DurableFunctionsTestError, match="skip needs virtual time"):
            runner.skip(Duration(1))


def test_a_context_is_found_where_it_lies() -> None:
    with DurableFunctionTestRunner(nested) as runner:
        result = runner.run(execution_name="mine", function_name="other")
    assert isinstance(result.get_operation_by_name("two"), ContextOperation)
    assert result.history.function_name == "other"
    assert result.get_execution("mine").name == "mine"


@pytest.mark.parametrize("ask", ["run_async", "get_execution_history", "send_callback_success"])
def test_what_is_not_there_is_refused(ask: str) -> None:
    with DurableFunctionTestRunner(nested) as runner:
        if ask == "run_async":
            runner.run(execution_name="taken")
            with pytest.raises(DurableFunctionsTestError, match="'taken' exists already"):
                runner.run_async(execution_name="taken")
        else:
            with pytest.raises(DurableFunctionsTestError, match="does not exist"):
                getattr(runner, ask)("nothing")


@durable_with_child_context
def sum_of_doubles(context: DurableContext, first: int, second: int) -> int:
    return context.step(double(first)) + context.step(double(second))


def test_a_function_for_child_contexts_is_hosted_alone() -> None:
    with DurableChildContextTestRunner(sum_of_doubles, 1, second=2) as runner:
        assert runner.run().value == 6


def test_a_test_does_not_wait_longer_in_real_time_than_it_said() -> None:
    finish = threading.Event()

    def handler(_event: Any, context: DurableContext) -> bool:
        return context.step(lambda _: finish.wait(60), name="endless")

    with DurableFunctionTestRunner(handler) as runner:
        with pytest.raises(TimeoutError, match=r"took longer than 0\.01 s of real time"):
            runner.run(timeout=0.01)
        finish.set()


def test_a_closed_runner_begins_nothing_more() -> None:
    with DurableFunctionTestRunner(nested) as runner:
        runner.close()
        arn = runner.run_async()
        assert kinds(runner, arn) == ["ExecutionStarted"]
