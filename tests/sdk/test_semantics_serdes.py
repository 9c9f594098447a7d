"""Default serdes of each operation, and failures of a serdes."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from perdure import DurableContext, RetryableSerDesError, SerDesError
from perdure.config import ChildConfig, InvokeConfig, MapConfig, ParallelConfig, StepConfig
from perdure.serdes import ExtendedTypeSerDes, JsonSerDes
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision
from perdure.worker_api import Errored, Failed, Outcome, Succeeded
from tests.sdk.hosted import Hosted, handler

DAY = date(2030, 1, 2)

Call = Callable[[DurableContext, Any], Any]


def polled(context: DurableContext, serdes: Any) -> Any:
    config = WaitForConditionConfig[Any](
        lambda _state, _attempt: WaitForConditionDecision.stop_polling(), DAY, serdes
    )
    return context.wait_for_condition(lambda state, _: state, config)


def mapped_day(_context: DurableContext, _item: int, *_: Any) -> date:
    return DAY


CALLS: list[Call] = [
    lambda context, serdes: context.step(lambda _: DAY, None, StepConfig(serdes=serdes)),
    lambda context, serdes: context.run_in_child_context(
        lambda _: DAY, None, ChildConfig(serdes=serdes)
    ),
    lambda context, serdes: context.run_in_child_context(
        lambda _: DAY, None, ChildConfig(serdes, is_virtual=True)
    ),
    lambda context, serdes: (
        context.map([1], mapped_day, None, MapConfig(item_serdes=serdes)).all[0].result
    ),
    lambda context, serdes: (
        context.parallel([lambda _: DAY], None, ParallelConfig(item_serdes=serdes)).all[0].result
    ),
    polled,
]


@pytest.mark.parametrize("call", CALLS)
def test_an_operation_keeps_extended_types_by_default(call: Call) -> None:
    def body(_: Any, context: DurableContext) -> bool:
        return bool(call(context, None) == DAY)

    assert Hosted(handler(body)).finish() == Succeeded("true")


class Away(JsonSerDes):
    """A serdes that fails the first time."""

    def __init__(self) -> None:
        self.times = 1

    def serialize(self, value: Any, serdes_context: Any) -> str:
        if self.times:
            self.times -= 1
            raise RetryableSerDesError("the file system is away")
        return super().serialize(str(value), serdes_context)


@pytest.mark.parametrize("call", CALLS)
def test_a_serdes_that_is_away_runs_the_invocation_again(call: Call) -> None:
    away = Away()
    host = Hosted(handler(lambda _, context: call(context, away)))
    assert host.finish() == Succeeded('"2030-01-02"')
    assert isinstance(host.outcomes[0], Errored)
    assert not any(update.startswith(("FAIL", "RETRY")) for update in host.updates)


def invoked(payload: Any) -> tuple[Hosted, Outcome]:
    def body(_: Any, context: DurableContext) -> Any:
        return context.invoke("other", payload, None, InvokeConfig[Any, Any]())

    host = Hosted(handler(body), targets=["other"])
    return host, host.run()


def test_an_invoke_writes_and_reads_plain_json_by_default() -> None:
    host, _ = invoked({"pair": (1, 2)})
    assert host.calls[0][0].payload == '{"pair": [1, 2]}'
    host.end_invoke("SUCCEEDED", '{"t": "t", "v": []}')
    assert host.finish() == Succeeded('{"t": "t", "v": []}')


def test_an_invoke_whose_payload_cannot_be_written_is_not_started() -> None:
    host, outcome = invoked(DAY)
    assert isinstance(outcome, Failed)
    assert outcome.error.type == f"perdure.exceptions.{SerDesError.__name__}"
    assert host.updates == []


@pytest.mark.parametrize("value", [bytearray(b"x"), memoryview(b"x")])
def test_what_holds_bytes_comes_back_as_bytes(value: Any) -> None:
    serdes = ExtendedTypeSerDes()
    assert serdes.deserialize(serdes.serialize(value)) == b"x"
