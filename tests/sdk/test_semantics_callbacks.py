"""Timeouts of callbacks, and the serdes of a submitter's value."""

from typing import Any

import pytest

from perdure import CallbackTimeoutError, DurableContext, DurableFunction
from perdure.config import CallbackConfig, Duration, WaitForCallbackConfig
from perdure.serdes import JsonSerDes, SerDesContext
from perdure.testing import DurableFunctionTestRunner
from perdure.worker_api import FunctionSettings, Pending
from tests.sdk.hosted import Hosted, handler


def watched(beat_s: int, beats: int) -> tuple[list[str], int]:
    """Keep a callback of 600 s, and 250 s between heartbeats, alive; return how it ended, when."""
    ends: list[str] = []

    def body(_: Any, context: DurableContext) -> None:
        config = CallbackConfig(Duration(600), Duration(250))
        with pytest.raises(CallbackTimeoutError) as caught:
            context.create_callback("ask", config).result()
        ends.append(caught.value.message or "")

    function = DurableFunction(body, FunctionSettings("watched"))
    with DurableFunctionTestRunner(function) as runner:
        arn = runner.run_async(None)
        callback_id = runner.wait_for_callback(arn, "ask")
        for _ in range(beats):
            runner.skip(Duration(beat_s))
            runner.send_callback_heartbeat(callback_id)
        callback = runner.wait_for_result(arn).get_callback("ask")
    assert callback.start_timestamp is not None
    assert callback.end_timestamp is not None
    return ends, round((callback.end_timestamp - callback.start_timestamp).total_seconds())


def test_a_heartbeat_prolongs_the_heartbeat_timeout() -> None:
    assert watched(100, 2)[1] == 450


def test_no_heartbeat_prolongs_the_timeout() -> None:
    assert watched(199, 3)[1] == 600


class Noting(JsonSerDes):
    """A JSON serdes that records the values it wrote."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        self.written.append(value)
        return super().serialize(value, serdes_context)


def test_the_serdes_of_a_wait_for_callback_writes_what_its_submitter_returns() -> None:
    noting = Noting()

    def body(_: Any, context: DurableContext) -> Any:
        config = WaitForCallbackConfig(serdes=noting)
        return context.wait_for_callback(lambda _id, _context: ("sent", 1), "ask", config)

    assert Hosted(handler(body)).run() == Pending()
    assert noting.written == [("sent", 1)]
