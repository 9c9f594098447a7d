"""Whatever a body raises ends it as that: handler, step, condition, branch and child."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext, PlainFunction
from perdure.config import Duration, StepConfig
from perdure.exceptions import qualified_name
from perdure.retries import RetryPresets, WithRetryConfig, with_retry
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure.worker_api import Failed, FunctionSettings, Outcome, Succeeded
from tests.sdk.hosted import Hosted, handler, hosted_async


class Odd(BaseException):
    """An exception of the user's that is no `Exception`."""


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """An exception that nothing can be set on."""

    code: int


class Slotted(Exception):
    """An exception with slots, which refuses attributes."""

    __slots__ = ("code",)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Unprintable(Exception):
    """An exception that does not print."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Unpicklable(Exception):
    """An exception that cannot be built from its arguments."""

    def __init__(self, one: int, *, two: int) -> None:
        super().__init__(f"{one} and {two}")

    def __reduce__(self) -> Any:
        raise TypeError("not me")


class Hostile(Exception):
    """An exception whose unknown attributes raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def deep() -> Exception:
    """Return an error with a chain of 10,000 causes."""
    error: Exception = ValueError("innermost")
    for number in range(10_000):
        above = ValueError(str(number))
        above.__cause__ = error
        error = above
    return error


def circular() -> Exception:
    """Return two errors that caused each other."""
    error, other = ValueError("one"), ValueError("other")
    error.__cause__, other.__cause__ = other, error
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "a BaseException of its own": lambda: Odd("odd"),
    "CancelledError": lambda: asyncio.CancelledError("mine"),
    "StopIteration": lambda: StopIteration(1),
    "StopAsyncIteration": StopAsyncIteration,
    "ExceptionGroup": lambda: ExceptionGroup("both", [ValueError("a"), KeyError("b")]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("both", [SystemExit(3), KeyError("b")]),
    "a frozen dataclass": lambda: Frozen(7),
    "slots": lambda: Slotted("slots"),
    "does not print": Unprintable,
    "does not pickle": lambda: Unpicklable(1, two=2),
    "hostile attributes": Hostile,
    "deep causes": deep,
    "circular causes": circular,
}
ONCE = StepConfig(retry_strategy=RetryPresets.none())
POLL: WaitForConditionConfig[Any] = WaitForConditionConfig(
    lambda _state, _attempt: WaitForConditionDecision.stop_polling(), None
)
LIMITED = StepConfig(retry_strategy=RetryPresets.none(), timeout=Duration.from_seconds(60))

PLACES: dict[str, Callable[[Any, Callable[..., Any]], Any]] = {
    "step": lambda context, body: context.step(body, "place", ONCE),
    "limited step": lambda context, body: context.step(body, "place", LIMITED),
    "condition": lambda context, body: context.wait_for_condition(body, POLL, "place"),
    "child": lambda context, body: context.run_in_child_context(body, "place"),
    "submitter": lambda context, body: context.wait_for_callback(body, "place"),
}
AWAY = WithRetryConfig[Any](RetryPresets.none())


def expected(error: BaseException) -> str | None:
    """Return the recorded class."""
    return qualified_name(type(error))


def caught(error: BaseException) -> str | None:
    """Return the class that the caller is told."""
    return getattr(error, "error_type", f"not an operation's error: {error!r}")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
def test_what_a_body_raises_is_what_its_caller_gets(
    make: Callable[[], BaseException], place: str
) -> None:
    def raising(*_: Any) -> Any:
        raise make()

    def body(_: Any, context: DurableContext) -> str | None:
        try:
            PLACES[place](context, raising)
        except Exception as error:  # noqa: BLE001 - the test judges it
            return caught(error)
        return "nothing"

    if place == "submitter":
        # Its failure is recorded as that of the submitter.
        submitter_failed = Succeeded('"perdure.exceptions.CallbackSubmitterError"')
        assert Hosted(handler(body)).finish() == submitter_failed
        return
    assert Hosted(handler(body)).finish() == Succeeded(f'"{expected(make())}"')


@pytest.mark.parametrize("form", ["coroutine", "function"])
@pytest.mark.parametrize("place", ["step", "limited step", "condition", "child"])
@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
def test_what_a_body_of_an_async_handler_raises_is_what_its_caller_gets(
    make: Callable[[], BaseException], place: str, form: str
) -> None:
    def raising(*_: Any) -> Any:
        raise make()

    async def raising_later(*_: Any) -> Any:
        await asyncio.sleep(0)
        raise make()

    async def body(context: AsyncDurableContext) -> str | None:
        try:
            await PLACES[place](context, raising if form == "function" else raising_later)
        except Exception as error:  # noqa: BLE001 - the test judges it
            return caught(error)
        return "nothing"

    error = make()
    if form == "coroutine" and isinstance(error, StopIteration):
        error = RuntimeError()  # Python itself makes that of it
    assert hosted_async(body).finish() == Succeeded(f'"{expected(error)}"')


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
def test_what_a_branch_raises_is_the_error_of_its_item(make: Callable[[], BaseException]) -> None:
    def raising(*_: Any) -> Any:
        raise make()

    async def raising_later(*_: Any) -> Any:
        await asyncio.sleep(0)
        raise make()

    def body(_: Any, context: DurableContext) -> Any:
        batch = context.parallel([raising, lambda _: 1])
        return [each.type for each in batch.get_errors() if each is not None]

    async def same(context: AsyncDurableContext) -> Any:
        async def fine(_: AsyncDurableContext) -> int:
            return 1

        batch = await context.parallel([raising_later, fine])
        return [each.type for each in batch.get_errors() if each is not None]

    error = make()
    assert Hosted(handler(body)).finish() == Succeeded(f'["{expected(error)}"]')
    if isinstance(error, StopIteration):
        error = RuntimeError()
    assert hosted_async(same).finish() == Succeeded(f'["{expected(error)}"]')


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
def test_what_a_handler_raises_fails_its_execution(make: Callable[[], BaseException]) -> None:
    def raising(*_: Any) -> Any:
        raise make()

    async def raising_later(*_: Any) -> Any:
        await asyncio.sleep(0)
        raise make()

    error = make()
    settings = FunctionSettings("plain")
    assert failure(Hosted(handler(raising)).finish()) == expected(error)
    assert failure(Hosted(PlainFunction(raising, settings)).finish()) == expected(error)
    if isinstance(error, StopIteration):
        error = RuntimeError()
    assert failure(hosted_async(raising_later).finish()) == expected(error)
    assert failure(Hosted(PlainFunction(raising_later, settings)).finish()) == expected(error)


def failure(outcome: Outcome) -> str | None:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.type


def test_a_block_that_is_retried_ends_with_what_it_raises() -> None:
    def block(_context: DurableContext, _attempt: int) -> Any:
        raise StopIteration

    def body(_: Any, context: DurableContext) -> Any:
        try:
            return with_retry(context, block, AWAY, "block")
        except Exception as error:  # noqa: BLE001 - the test judges it
            return caught(error)

    assert Hosted(handler(body)).finish() == Succeeded('"StopIteration"')


def test_what_is_no_ordinary_exception_is_not_retried() -> None:
    attempts: list[int] = []

    def exiting(step: Any) -> None:
        attempts.append(step.attempt)
        raise SystemExit(3)

    def body(_: Any, context: DurableContext) -> Any:
        try:
            context.step(exiting, "exiting")
        except Exception as error:  # noqa: BLE001 - the test judges it
            return caught(error)

    assert Hosted(handler(body)).finish() == Succeeded('"SystemExit"')
    assert attempts == [1]


def test_a_step_that_meets_a_cancelled_task_has_failed() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        async def cancelled(_: object) -> None:
            task = asyncio.create_task(asyncio.Event().wait())
            await asyncio.sleep(0)
            task.cancel()
            await task

        try:
            await context.step(cancelled, "cancelled")
        except Exception as error:  # noqa: BLE001 - the test judges it
            return caught(error)

    assert hosted_async(body).finish() == Succeeded('"asyncio.exceptions.CancelledError"')


def test_a_cancellation_that_the_handler_asked_for_stays_one() -> None:
    async def body(context: AsyncDurableContext) -> str:
        async def forever(_: object) -> None:
            await asyncio.sleep(3_600)

        try:
            async with asyncio.timeout(0.05):
                await context.step(forever, "forever")
        except TimeoutError:
            return "in time"
        return "never"

    assert hosted_async(body).finish() == Succeeded('"in time"')


def test_a_record_holds_the_reasons_and_the_notes() -> None:
    def chained(_: Any, _context: DurableContext) -> None:
        try:
            {}["reason"]  # type: ignore[index]
        except KeyError as error:
            above = ValueError("outer")
            above.add_note("ask the shop")
            raise above from error

    def grouped(_: Any, _context: DurableContext) -> None:
        raise ExceptionGroup("both", [ValueError("reason one"), OSError("reason two")])

    for function, reasons in (
        (chained, ["note: ask the shop", "caused by KeyError: 'reason'"]),
        (grouped, ["with ValueError: reason one", "with OSError: reason two"]),
    ):
        outcome = Hosted(handler(function)).finish()
        assert isinstance(outcome, Failed)
        assert "test_anything_raised.py" in outcome.error.stack_trace[0]
        assert set(reasons) <= set(outcome.error.stack_trace)


def test_the_record_of_a_failed_step_that_fails_its_handler_names_the_first_class() -> None:
    def failing(_: object) -> None:
        raise OSError("down")

    outcome = Hosted(handler(lambda _, context: context.step(failing, "s", ONCE))).finish()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "perdure.exceptions.StepError"
    assert "caused by OSError: down" in outcome.error.stack_trace
