"""The context's logger: each record is logged once, although the handler is replayed."""

import logging
from typing import Any

import pytest

from perdure import DurableContext, StepContext, durable_step
from perdure.config import Duration, StepConfig
from perdure.logger import Logger, log_extra
from perdure.operations.identity import operation_id
from perdure.retries import RetryPresets
from perdure.types import LoggerInterface
from perdure.worker_api import Succeeded
from tests.sdk.hosted import Crash, Hosted, handler
from tests.sdk.recording_logger import RecordingLogger


@durable_step
def work(step_context: StepContext) -> None:
    step_context.logger.info("working")


def test_records_are_made_once_over_all_replays() -> None:
    recording = RecordingLogger()

    def talkative(_: Any, context: DurableContext) -> None:
        context.set_logger(recording)
        context.logger.info("begin")
        context.step(work())
        context.logger.info("after the step")
        callback = context.create_callback("ask")
        context.wait(Duration(5))
        context.logger.info("after the wait")
        context.logger.info("got %s", callback.result())
        context.step(work())
        context.logger.info("end")

    host = Hosted(handler(talkative))
    host.run()
    host.succeed_callback("it")
    assert host.finish() == Succeeded("null")
    assert len(host.outcomes) == 3
    assert recording.messages == [
        "begin",
        "working",
        "after the step",
        "after the wait",
        "got it",
        "working",
        "end",
    ]


def test_what_follows_a_resumed_callback_is_new() -> None:
    recording = RecordingLogger()

    def asking(_: Any, context: DurableContext) -> None:
        context.set_logger(recording)
        result = context.create_callback("ask").result()
        context.logger.info("got %s", result)

    host = Hosted(handler(asking))
    host.run()
    host.succeed_callback("it")
    host.run()
    assert recording.messages == ["got it"]


def test_a_retried_step_makes_its_context_live_before_the_body_runs() -> None:
    recording = RecordingLogger()

    def retrying(_: Any, context: DurableContext) -> None:
        def body(step_context: StepContext) -> None:
            context.logger.info("attempt %s", step_context.attempt)
            if step_context.attempt == 1:
                raise OSError

        context.set_logger(recording)
        context.logger.info("begin")
        context.step(body, config=StepConfig(retry_strategy=RetryPresets.fixed()))

    Hosted(handler(retrying)).finish()
    assert recording.messages == ["begin", "attempt 1", "attempt 2"]


def test_a_handler_knows_whether_it_is_replaying() -> None:
    seen: list[bool] = []

    def asking(_: Any, context: DurableContext) -> None:
        seen.append(context.is_replaying())
        context.wait(Duration(5))
        seen.append(context.is_replaying())

    Hosted(handler(asking)).finish()
    assert seen == [False, True, False]


def test_after_a_crash_what_was_logged_before_the_record_is_not_repeated() -> None:
    recording = RecordingLogger()

    def two(_: Any, context: DurableContext) -> None:
        context.set_logger(recording)
        context.step(work(), "one")
        context.logger.info("between")
        context.step(work(), "two")
        context.wait(Duration(1))

    Hosted(handler(two), crashes=[Crash(3, accepted=False)]).finish()
    assert recording.messages == ["working", "between", "working"]


def test_records_of_a_context_name_the_execution() -> None:
    recording = RecordingLogger()

    def talk(_: Any, context: DurableContext) -> None:
        context.set_logger(recording)
        context.logger.warning("hello", extra={"order": 17})

    host = Hosted(handler(talk))
    host.run()
    assert recording.extras == [{"executionArn": host.arn, "order": 17}]


def test_records_of_a_step_name_the_operation_and_the_attempt() -> None:
    recording = RecordingLogger()

    def talk(_: Any, context: DurableContext) -> None:
        context.set_logger(recording)
        context.step(work())

    host = Hosted(handler(talk))
    host.run()
    assert recording.extras == [
        {
            "executionArn": host.arn,
            "operationName": "work",
            "attempt": 1,
            "operationId": operation_id(None, 1),
        }
    ]


def test_extra_fields_leave_out_what_does_not_apply() -> None:
    assert log_extra("arn", parent_id="p", attempt=2) == {
        "executionArn": "arn",
        "parentId": "p",
        "attempt": 2,
    }


def test_the_root_logger_is_the_default(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Hosted(handler(lambda _, context: context.logger.debug("plain %d", 1))).run()
    (record,) = [record for record in caplog.records if record.message == "plain 1"]
    assert record.name == "root"
    assert record.filename == "test_logger.py"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "exception"])
def test_every_level_reaches_the_underlying_logger(level: str) -> None:
    recording = RecordingLogger()
    getattr(Logger(recording, {"a": 1}), level)("%s!", "hi", extra={"b": 2})
    assert recording.messages == ["hi!"]
    assert recording.extras == [{"a": 1, "b": 2}]


def test_a_replaying_context_says_nothing() -> None:
    recording: LoggerInterface = RecordingLogger()
    logger = Logger(recording, {}, lambda: True)
    logger.error("again")
    assert logger.get_logger() is recording
    assert isinstance(recording, RecordingLogger)
    assert recording.messages == []
