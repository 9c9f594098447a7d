"""Fields of log records in child contexts, and the end of a context's replay."""

from collections.abc import Callable
from typing import Any

import pytest

from perdure import DurableContext, StepContext
from perdure.config import ChildConfig, Duration, InvokeConfig
from perdure.operations.identity import operation_id
from perdure.worker_api import Succeeded
from tests.sdk.hosted import Hosted, handler
from tests.sdk.recording_logger import RecordingLogger

GROUP = operation_id(None, 1)


def logged(
    body: Callable[[DurableContext], Any], *, virtual: bool = False
) -> tuple[Hosted, RecordingLogger]:
    recording = RecordingLogger()

    def grouped(_: Any, context: DurableContext) -> None:
        context.set_logger(recording)
        context.run_in_child_context(body, "group", ChildConfig[Any](is_virtual=virtual))

    host = Hosted(handler(grouped), targets=["other"])
    host.run()
    return host, recording


def test_records_of_a_child_context_name_it_as_their_parent() -> None:
    host, recording = logged(lambda child: child.logger.info("hello"))
    assert recording.extras == [{"executionArn": host.arn, "parentId": GROUP}]


def test_records_of_a_virtual_context_name_no_parent_that_is_not_recorded() -> None:
    host, recording = logged(lambda child: child.logger.info("hello"), virtual=True)
    assert recording.extras == [{"executionArn": host.arn}]


def test_records_of_a_step_in_a_child_context_name_both() -> None:
    def work(step_context: StepContext) -> None:
        step_context.logger.info("hello")

    host, recording = logged(lambda child: child.step(work, "work"))
    assert recording.extras == [
        {
            "executionArn": host.arn,
            "parentId": GROUP,
            "operationName": "work",
            "attempt": 1,
            "operationId": operation_id(GROUP, 1),
        }
    ]


def waiting(context: DurableContext) -> Any:
    context.wait(Duration(5))


def asking(context: DurableContext) -> Any:
    return context.create_callback().result()


def invoking(context: DurableContext) -> Any:
    return context.invoke("other", 1, None, InvokeConfig[Any, Any]())


RESUMED: list[tuple[Callable[[DurableContext], Any], Callable[[Hosted], None]]] = [
    (waiting, Hosted.pass_time),
    (asking, lambda host: host.succeed_callback("yes")),
    (invoking, lambda host: host.end_invoke("SUCCEEDED", "1")),
]


@pytest.mark.parametrize(("call", "resume"), RESUMED)
def test_a_context_is_live_after_what_it_waited_for(
    call: Callable[[DurableContext], Any], resume: Callable[[Hosted], None]
) -> None:
    def body(child: DurableContext) -> None:
        child.logger.info("before")
        call(child)
        child.logger.info("after")

    host, recording = logged(body)
    resume(host)
    assert host.finish() == Succeeded("null")
    assert len(host.outcomes) == 2
    assert recording.messages == ["before", "after"]
