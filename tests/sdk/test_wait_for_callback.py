"""Waiting for a callback: created, submitted by a step, awaited; its errors are not wrapped."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import (
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    DurableContext,
    DurableOperationError,
    StepError,
    durable_wait_for_callback,
)
from perdure.config import Duration, WaitForCallbackConfig
from perdure.retries import RetryPresets
from perdure.serdes import JsonSerDes, SerDes, SerDesContext
from perdure.typed import TypedSerDes
from perdure.types import WaitForCallbackContext
from perdure.worker_api import Outcome, Pending, Succeeded
from perdure_core.model import CallbackDetails, ErrorObject, StepDetails
from tests.sdk.hosted import Hosted, handler

NEVER = RetryPresets.none()


Submitter = Callable[[str, WaitForCallbackContext], Any]


def silent(_id: str, _context: WaitForCallbackContext) -> None:
    """Do nothing with the callback id."""


def asking(
    submitter: Submitter = silent,
    name: str | None = "ask",
    config: WaitForCallbackConfig | None = None,
) -> Hosted:
    return Hosted(handler(lambda _, context: context.wait_for_callback(submitter, name, config)))


def test_the_submitter_gets_the_id_and_the_result_comes_back() -> None:
    seen: list[str] = []
    host = asking(lambda id_, _: seen.append(id_))
    assert host.run() == Pending()
    details = host.open_callback().details
    assert isinstance(details, CallbackDetails)
    assert seen == [details.callback_id]
    host.succeed_callback("yes")
    assert host.run() == Succeeded('"yes"')
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("ask", ["ask", "ask create callback id", "ask submitter"]),
        (None, [None, "create callback id", "submitter"]),
    ],
)
def test_its_parts_are_named_after_it(name: str | None, names: list[str | None]) -> None:
    host = asking(name=name)
    host.run()
    operations = list(host.state.operations.values())
    assert [operation.name for operation in operations] == names
    assert [operation.sub_type for operation in operations] == [
        "WaitForCallback",
        "Callback",
        "Step",
    ]


@durable_wait_for_callback
def request(callback_id: str, context: WaitForCallbackContext, whom: str) -> None:
    context.logger.info("%s has %s", whom, callback_id)


def test_a_decorated_submitter_names_the_operation() -> None:
    host = asking(request("Ada"), None)
    host.run()
    assert next(iter(host.state.operations.values())).name == "request"


def test_its_timeouts_and_its_sub_type_are_those_of_the_callback() -> None:
    host = asking(
        config=WaitForCallbackConfig(
            timeout=Duration(60), heartbeat_timeout=Duration(9), sub_type="Approval"
        )
    )
    host.run()
    callback = host.open_callback()
    assert callback.sub_type == "Approval"
    assert isinstance(callback.details, CallbackDetails)
    assert (callback.details.timeout_s, callback.details.heartbeat_timeout_s) == (60, 9)


def test_its_serdes_reads_the_result() -> None:
    host = asking(config=WaitForCallbackConfig(serdes=JsonSerDes()))
    host.run()
    host.succeed_callback('{"a": [1]}')
    assert host.run() == Succeeded('{"a": [1]}')


@dataclass
class Approval:
    by: str


APPROVALS: SerDes[Approval] = TypedSerDes(Approval)


def test_its_serdes_is_not_asked_about_a_submitter_that_returns_nothing() -> None:
    host = Hosted(
        handler(
            lambda _, context: (
                context.wait_for_callback(silent, "ask", WaitForCallbackConfig(serdes=APPROVALS)).by
            )
        )
    )
    assert host.run() == Pending()
    host.succeed_callback('{"by": "Ada"}')
    assert host.run() == Succeeded('"Ada"')


def test_a_submission_that_an_earlier_release_recorded_by_its_serdes_is_replayed() -> None:
    class Earlier(JsonSerDes):
        """Wrote None in its own way, and reads only what comes from outside."""

        def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
            assert data != "nothing"
            return super().deserialize(data, serdes_context)

    host = asking(config=WaitForCallbackConfig(serdes=Earlier()))
    host.run()
    submitted = next(op for op in host.state.operations.values() if op.name == "ask submitter")
    assert isinstance(submitted.details, StepDetails)
    submitted.details.result = "nothing"
    host.succeed_callback('"yes"')
    assert host.run() == Succeeded('"yes"')


def caught_twice(submitter: Submitter, config: WaitForCallbackConfig) -> tuple[Hosted, list[Any]]:
    """Return the errors caught on the first run and on replay."""
    seen: list[Any] = []

    def body(_: Any, context: DurableContext) -> None:
        try:
            context.wait_for_callback(submitter, "ask", config)
        except DurableOperationError as error:
            cause = error.__cause__
            seen.append((type(error), error.message, error.error_type, type(cause), str(cause)))
        context.wait(Duration(5))

    return Hosted(handler(body)), seen


def failing(_id: str, _context: WaitForCallbackContext) -> None:
    raise OSError("no post today")


def test_a_submitter_that_fails_for_good_has_its_own_error() -> None:
    host, seen = caught_twice(failing, WaitForCallbackConfig(retry_strategy=NEVER))
    host.finish()
    name = "perdure.exceptions.CallbackSubmitterError"
    assert seen == [(CallbackSubmitterError, "no post today", name, StepError, "no post today")] * 2


def test_a_submitter_is_retried_as_its_strategy_says() -> None:
    config = WaitForCallbackConfig(retry_strategy=RetryPresets.fixed(Duration(1)))
    host, _ = caught_twice(failing, config)
    host.finish()
    assert host.updates.count("RETRY STEP") == 4


def test_a_timeout_comes_out_as_such_on_the_first_run_and_on_replay() -> None:
    host, seen = caught_twice(silent, WaitForCallbackConfig(timeout=Duration(3)))
    host.finish()
    assert [entry[:2] for entry in seen] == [(CallbackTimeoutError, "Callback timed out")] * 2


def test_a_failed_callback_comes_out_as_such_on_the_first_run_and_on_replay() -> None:
    host, seen = caught_twice(silent, WaitForCallbackConfig())
    host.run()
    host.fail_callback(ErrorObject("denied", "Refusal"))
    assert host.finish() == Succeeded("null")
    assert [entry[:2] for entry in seen] == [(CallbackExternalError, "denied")] * 2


def test_a_callback_completed_before_it_is_awaited_does_not_suspend() -> None:
    hosts: list[Hosted] = []

    def at_once(_id: str, _context: WaitForCallbackContext) -> None:
        hosts[0].succeed_callback("quick")

    hosts.append(asking(at_once))
    outcome: Outcome = hosts[0].finish()
    assert outcome == Succeeded('"quick"')
    assert len(hosts[0].outcomes) == 1
