"""Callbacks: promises that outsiders complete."""

from typing import Any

import pytest

from perdure import DurableContext
from perdure.config import CallbackConfig, Duration, StepConfig
from perdure.exceptions import (
    CallbackError,
    CallbackExternalError,
    CallbackTimeoutError,
    SuspendExecution,
    TimedSuspendExecution,
)
from perdure.serdes import JsonSerDes
from perdure.worker_api import Pending, Succeeded
from perdure_core.model import CallbackDetails, ErrorObject
from tests.sdk.hosted import Hosted, callback_id, handler


def asking(config: CallbackConfig | None = None) -> Hosted:
    return Hosted(handler(lambda _, context: context.create_callback("ask", config).result()))


def test_a_callback_has_its_id_at_once() -> None:
    seen: list[str] = []

    def create(_: Any, context: DurableContext) -> None:
        callback = context.create_callback("ask")
        seen.append(callback.callback_id)
        context.wait(Duration(1))

    host = Hosted(handler(create))
    host.run()
    assert seen == [callback_id(host.open_callback())]
    host.finish()
    assert seen[0] == seen[1]


@pytest.mark.parametrize("text", ["yes", "", '{"raw": true}', None])
def test_a_result_is_the_text_that_was_sent(text: str | None) -> None:
    results: list[Any] = []
    host = Hosted(handler(lambda _, context: results.append(context.create_callback().result())))
    assert host.run() == Pending()
    host.succeed_callback(text)
    assert host.run() == Succeeded("null")
    assert results == [text]


def test_a_result_is_read_by_the_serdes_that_was_given() -> None:
    host = asking(CallbackConfig(serdes=JsonSerDes()))
    host.run()
    host.succeed_callback('{"approved": true}')
    assert host.run() == Succeeded('{"approved": true}')


def test_the_timeouts_and_the_sub_type_are_recorded() -> None:
    host = asking(
        CallbackConfig(
            timeout=Duration.from_minutes(3), heartbeat_timeout=Duration(30), sub_type="Approval"
        )
    )
    host.run()
    operation = host.open_callback()
    assert isinstance(operation.details, CallbackDetails)
    assert operation.sub_type == "Approval"
    assert operation.details.timeout_s == 180
    assert operation.details.heartbeat_timeout_s == 30


def test_waiting_for_a_callback_suspends_without_a_date() -> None:
    caught: list[BaseException] = []

    def curious(_: Any, context: DurableContext) -> None:
        try:
            context.create_callback().result()
        except BaseException as suspension:
            caught.append(suspension)
            raise

    Hosted(handler(curious)).run()
    assert [type(suspension) for suspension in caught] == [SuspendExecution]
    assert not isinstance(caught[0], TimedSuspendExecution)


def failing(caught: list[CallbackError], config: CallbackConfig | None = None) -> Hosted:
    def catching(_: Any, context: DurableContext) -> None:
        callback = context.create_callback("ask", config)
        try:
            callback.result()
        except CallbackError as error:
            caught.append(error)
        context.wait(Duration(1))

    return Hosted(handler(catching))


def test_a_callback_that_was_failed_raises_the_same_error_on_every_replay() -> None:
    caught: list[CallbackError] = []
    host = failing(caught)
    host.run()
    host.fail_callback(ErrorObject("too expensive", "Rejected", '{"by": "eve"}', ("line",)))
    assert host.finish() == Succeeded("null")
    assert [type(error) for error in caught] == [CallbackExternalError] * 2
    for error in caught:
        assert str(error) == "too expensive"
        assert error.error_type == "Rejected"
        assert error.data == '{"by": "eve"}'
        assert error.stack_trace == ["line"]


@pytest.mark.parametrize(
    ("config", "error_type"),
    [
        (CallbackConfig(timeout=Duration(9)), "Callback.Timeout"),
        (CallbackConfig(heartbeat_timeout=Duration(9)), "Callback.Heartbeat"),
    ],
)
def test_an_uncompleted_callback_times_out(config: CallbackConfig, error_type: str) -> None:
    caught: list[CallbackError] = []
    host = failing(caught, config)
    assert host.finish() == Succeeded("null")
    assert {type(error) for error in caught} == {CallbackTimeoutError}
    assert {error.error_type for error in caught} == {error_type}


def test_how_a_callback_ended_is_only_learned_from_its_result() -> None:
    def later(_: Any, context: DurableContext) -> str:
        callback = context.create_callback("ask", CallbackConfig(timeout=Duration(1)))
        context.wait(Duration(60))
        created_again = callback.callback_id
        with pytest.raises(CallbackTimeoutError):
            callback.result()
        with pytest.raises(CallbackTimeoutError):
            callback.result()
        return str(created_again)

    assert Hosted(handler(later)).finish() == Succeeded('"callback-1-0"')


def test_a_completion_that_comes_while_the_handler_works_is_not_waited_for() -> None:
    def busy(_: Any, context: DurableContext) -> Any:
        callback = context.create_callback("ask")
        context.step(lambda _: host.succeed_callback("fast"), "work", StepConfig())
        return callback.result()

    host = Hosted(handler(busy))
    assert host.run() == Succeeded('"fast"')
    assert len(host.outcomes) == 1
