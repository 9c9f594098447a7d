"""Logging never fails an execution, whatever is logged and whoever logs it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext, PlainContext, PlainFunction, StepContext
from perdure.logger import Logger, log_extra
from perdure.operations.identity import operation_id
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure.worker_api import FunctionSettings, Succeeded, current_log_fields
from tests.sdk.hosted import Hosted, handler, hosted_async
from tests.sdk.recording_logger import RecordingLogger


class Unprintable:
    """A value that does not print."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Raising:
    """A logger that raises, whatever is logged."""

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        raise OSError("the disk is full")

    info = warning = error = exception = debug


CALLS: dict[str, Callable[[Any], object]] = {
    "exc_info without an exception": lambda target: target.error("x", exc_info=True),
    "exception without an exception": lambda target: target.exception("x"),
    "an exception": lambda target: target.error("x", exc_info=ValueError("given")),
    "an exception that does not print": lambda target: target.error(
        "x", exc_info=UnprintableError()
    ),
    "the stack": lambda target: target.error("x", stack_info=True),
    "a level of the stack": lambda target: target.error("x", stacklevel=2),
    "an unknown keyword": lambda target: target.error("x", colour="red"),
    "colliding extra": lambda target: target.error("x", extra={"name": 1, "message": 2, "args": 3}),
    "extra that is no mapping": lambda target: target.error("x", extra="order"),
    "too few arguments": lambda target: target.error("%s %s", "one"),
    "too many arguments": lambda target: target.error("x", "one", "two"),
    "an argument of another type": lambda target: target.error("%d", "one"),
    "an argument that does not print": lambda target: target.error("%s", Unprintable()),
    "a message that does not print": lambda target: target.error(Unprintable()),
}


class UnprintableError(Exception):
    """An error that does not print."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("underlying", [logging.getLogger("shop"), RecordingLogger(), Raising()])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_record_fails_a_handler_or_a_step(
    call: Callable[[Any], object], underlying: Any
) -> None:
    def body(_: Any, context: DurableContext) -> str:
        def step(step_context: StepContext) -> None:
            call(step_context.logger)

        context.set_logger(underlying)
        call(context.logger)
        context.step(step, "step")
        return "went on"

    assert Hosted(handler(body)).run() == Succeeded('"went on"')


def test_an_exception_that_is_handled_is_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    def body(_: Any, context: DurableContext) -> None:
        write = context.logger
        try:
            dict[str, int]()["lost"]
        except KeyError:
            write.error("first", exc_info=True)
            write.exception("second")
        write.error("third", exc_info=True)

    Hosted(handler(body)).run()
    kinds = [each.exc_info[0] if each.exc_info else None for each in caplog.records]
    assert kinds == [KeyError, KeyError, None]


def test_extra_fields_that_collide_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    Logger(logging.getLogger("shop"), {"a": 1}).warning("x", extra={"name": "o-17", "order": 7})
    (record,) = caplog.records
    assert (record.name, vars(record)["name_"], vars(record)["order"]) == ("shop", "o-17", 7)


def test_the_record_names_the_line_that_logged(caplog: pytest.LogCaptureFixture) -> None:
    def log(level: int) -> None:
        Logger(logging.getLogger("shop"), {}).warning("x", stacklevel=level)

    log(1)
    log(2)
    this = test_the_record_names_the_line_that_logged.__name__
    assert [record.funcName for record in caplog.records] == ["log", this]


def test_a_record_that_was_lost_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    Logger(Raising(), {}).warning("order %s", 7)
    (record,) = caplog.records
    assert record.name == "perdure"
    assert record.getMessage() == ("a log record was lost: 'order %s' (OSError: the disk is full)")


def stop_at_once(_state: Any, _attempt: int) -> WaitForConditionDecision:
    """Poll once."""
    return WaitForConditionDecision.stop_polling()


def test_workers_know_the_fields_of_the_body_that_runs() -> None:
    seen: list[Mapping[str, object]] = []

    def note(*_: Any) -> Any:
        seen.append(current_log_fields())

    def body(_: Any, context: DurableContext) -> None:
        note()
        context.step(note, "one")
        context.run_in_child_context(lambda child: (note(), child.step(note, "two")))
        context.wait_for_condition(note, WaitForConditionConfig(stop_at_once, None), "poll")
        note()

    async def same(context: AsyncDurableContext) -> None:
        async def child(inner: AsyncDurableContext) -> None:
            note()
            await inner.step(note, "two")

        note()
        await context.step(note, "one")
        await context.run_in_child_context(child)
        await context.wait_for_condition(note, WaitForConditionConfig(stop_at_once, None), "poll")
        note()

    one, below, poll = (operation_id(None, number) for number in (1, 2, 3))
    two = operation_id(below, 1)
    for host in (Hosted(handler(body)), hosted_async(same)):
        seen.clear()
        host.run()
        assert seen == [
            log_extra(host.arn),
            log_extra(host.arn, operation_name="one", attempt=1, operation_id=one),
            log_extra(host.arn, parent_id=below),
            log_extra(host.arn, parent_id=below, operation_name="two", attempt=1, operation_id=two),
            log_extra(host.arn, operation_name="poll", attempt=1, operation_id=poll),
            log_extra(host.arn),
        ]
        assert current_log_fields() == {}


def test_workers_know_the_execution_of_a_plain_function() -> None:
    def plain(_event: Any, _context: PlainContext) -> Any:
        return current_log_fields()

    async def plain_later(_event: Any, _context: PlainContext) -> Any:
        return current_log_fields()

    for function in (plain, plain_later):
        host = Hosted(PlainFunction(function, FunctionSettings("plain")))
        assert host.run() == Succeeded(f'{{"executionArn": "{host.arn}"}}')
