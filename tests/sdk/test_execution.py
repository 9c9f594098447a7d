"""Durable functions, as the decorator makes them and as workers run them."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

import perdure
from perdure import (
    AsyncDurableContext,
    DurableContext,
    DurableFunction,
    ValidationError,
    durable_execution,
)
from perdure.config import Duration
from perdure.worker_api import (
    Errored,
    Failed,
    FunctionSettings,
    Invocation,
    InvocationEnvironment,
    Outcome,
    Succeeded,
    run_invocation,
)
from perdure_core import limits
from tests.sdk.hosted import Hosted, handler
from tests.sdk.scripted import Scripted, delivery

ROOT = Path(__file__).parent.parent.parent


@durable_execution
def greet(event: Any, context: DurableContext) -> str:
    """Say hello."""
    return f"hello {event['name']}"


@durable_execution(
    name="greeter",
    execution_timeout=Duration.from_hours(1),
    retention_days=90,
    tenant_isolation=True,
)
def configured(event: Any, context: DurableContext) -> str:
    return "hello"


@pytest.mark.parametrize(("timeout", "seconds"), [(Duration(0, 1), 1), (Duration(5, 200), 6)])
def test_a_timeout_is_rounded_up_to_whole_seconds(timeout: Duration, seconds: int) -> None:
    function = durable_execution(name="brief", execution_timeout=timeout)(lambda _, __: None)
    assert function.settings.execution_timeout_s == seconds


def outcome_of(body: Callable[[Any, Any], Any], payload: str | None = None) -> Outcome:
    return run_invocation(
        handler(body), InvocationEnvironment(delivery(payload=payload), Scripted())
    )


def test_a_bare_decorator_takes_the_defaults() -> None:
    assert isinstance(greet, DurableFunction)
    assert greet.settings == FunctionSettings("greet", 31_622_400, 14, tenant_isolation=False)
    assert greet.__doc__ == "Say hello."
    assert greet.__name__ == "greet"


def test_arguments_of_the_decorator_are_kept() -> None:
    assert configured.settings == FunctionSettings("greeter", 3_600, 90, tenant_isolation=True)


def test_a_durable_function_runs_with_the_context_of_a_delivery_alone() -> None:
    with pytest.raises(ValidationError, match="'greet' is a durable function"):
        greet({"name": "you"}, {"aws_request_id": "1"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "with blank"}, "1 to 64 characters"),
        ({"name": "a" * 65}, "1 to 64 characters"),
        ({"execution_timeout": Duration(0)}, "1 second to 366 days, got 0 ms"),
        ({"execution_timeout": Duration(31_622_401)}, "366 days, got 31,622,401 seconds"),
        ({"retention_days": 0}, "retention_days must be 1 to 90"),
        ({"retention_days": 91}, "retention_days must be 1 to 90"),
    ],
)
def test_settings_outside_the_limits_are_refused(options: dict[str, Any], complaint: str) -> None:
    settings: dict[str, Any] = {"name": "f", **options}
    with pytest.raises(ValidationError, match=complaint):
        durable_execution(**settings)(lambda _event, _context: None)


def test_a_name_is_needed_where_there_is_none_to_take() -> None:
    with pytest.raises(ValidationError, match="Set it with name=…"):
        durable_execution(lambda _event, _context: None)


def test_a_coroutine_function_makes_an_async_function() -> None:
    async def later(event: Any, context: AsyncDurableContext) -> None:
        pass

    assert durable_execution(later).is_async
    with pytest.raises(ValidationError, match="calls it with a AsyncDurableContext"):
        durable_execution(later)(1, cast("AsyncDurableContext", "another context"))


@pytest.mark.parametrize(
    ("payload", "event"),
    [(None, {}), ("", {}), ("  ", {}), ("null", None), ('{"a": [1]}', {"a": [1]}), ("7", 7)],
)
def test_the_payload_is_json_and_a_blank_one_an_empty_object(
    payload: str | None, event: Any
) -> None:
    seen: list[Any] = []
    outcome_of(lambda event, _: seen.append(event), payload)
    assert seen == [event]


def test_a_payload_that_is_not_json_fails_the_execution() -> None:
    outcome = outcome_of(lambda _, __: None, "{not json")
    assert isinstance(outcome, Failed)
    assert (outcome.error.message or "").startswith("The input of the execution is not JSON")


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), ({"a": (1, "ü")}, '{"a": [1, "\\u00fc"]}')]
)
def test_the_result_is_plain_json(value: Any, text: str) -> None:
    assert outcome_of(lambda _, __: value) == Succeeded(text)


def test_a_result_that_is_not_json_fails_the_execution() -> None:
    outcome = outcome_of(lambda _, __: {1, 2})
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.SerDesError"
    assert outcome.error.message == (
        "The result of 'under-test' is not JSON: Object of type set is not JSON serializable. "
        "Annotate its result with `-> set[int]`."
    )


@pytest.mark.parametrize(("size", "fits"), [(67_108_864, True), (67_108_865, False)])
def test_a_result_above_64_mebibytes_fails_the_execution(size: int, fits: bool) -> None:
    outcome = outcome_of(lambda _, __: "x" * (size - 2))
    if fits:
        assert isinstance(outcome, Succeeded)
    else:
        assert isinstance(outcome, Failed)
        assert outcome.error.message == (
            "The result of 'under-test' must be at most 67,108,864 bytes, got 67,108,865."
        )


def test_what_a_handler_raises_fails_the_execution() -> None:
    outcome = outcome_of(lambda event, _: event["missing"])
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.message) == ("KeyError", "'missing'")
    assert all("sdk/perdure/" not in line for line in outcome.error.stack_trace)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_handler_that_exits_fails_its_execution(error: BaseException) -> None:
    def exiting(_: Any, __: Any) -> None:
        raise error

    outcome = outcome_of(exiting)
    assert isinstance(outcome, Failed)
    assert outcome.error.type == type(error).__name__


def test_an_invocation_without_its_execution_is_broken() -> None:
    invocation = Invocation(
        invocation_id="i", execution_arn="arn", function_name="f", operations=()
    )
    outcome = run_invocation(
        handler(lambda _, __: None), InvocationEnvironment(invocation, Scripted())
    )
    assert isinstance(outcome, Errored)


def test_a_handler_knows_which_execution_it_is() -> None:
    outcome = outcome_of(lambda _, context: context.execution_context.durable_execution_arn)
    assert outcome == Succeeded('"arn"')


def test_every_exported_name_exists() -> None:
    assert [name for name in perdure.__all__ if not hasattr(perdure, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(perdure, "nonsense")  # noqa: B009


def test_the_version_is_the_one_that_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert perdure.__version__ == project["version"]


def test_handlers_need_neither_grpc_nor_the_libraries_of_the_server() -> None:
    program = (
        "import sys, perdure, perdure.functions.run\n"
        "print([name for name in ('grpc', 'sqlalchemy', 'starlette', 'alembic') if name in"
        " sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert printed.stdout == "[]\n"


def test_an_execution_that_reaches_the_bound_of_operations_fails_clearly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OPERATIONS_MAX", 3)

    def swallowing(_: Any, context: DurableContext) -> int:
        for number in range(4):
            with suppress(Exception):
                context.step(lambda _: number, f"work-{number}")  # noqa: B023
        return 4

    host = Hosted(handler(swallowing))
    outcome = host.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.message is not None
    assert "is one too many: an execution holds at most 3;" in outcome.error.message
    assert len(host.state.operations) == 3
