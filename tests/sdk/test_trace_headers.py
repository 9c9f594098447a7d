"""Trace headers: set by plugins, carried by chained invokes, inherited by their executions."""

from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext, DurableFunction
from perdure.config import InvokeConfig
from perdure.plugin import (
    DurableInstrumentationPlugin,
    InvocationInfo,
    PropagationInput,
    PropagationMetadata,
)
from perdure.testing import DurableFunctionTestRunner
from perdure.worker_api import FunctionSettings, Succeeded
from perdure_core.limits import TRACE_HEADER_CHARS_MAX
from perdure_core.model import OperationUpdate
from tests.sdk.hosted import Hosted
from tests.sdk.recorder import Factory, Recorder, awaiting, blocking

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class Giving(DurableInstrumentationPlugin):
    """A plugin that returns the given metadata."""

    def __init__(self, answer: Any) -> None:
        self._answer: PropagationMetadata | None = answer

    def provide_propagation_metadata(self, info: PropagationInput) -> PropagationMetadata | None:
        return self._answer


def invoke(context: DurableContext) -> Any:
    return context.invoke("other", 1, "call", InvokeConfig[int, Any]())


async def async_invoke(context: AsyncDurableContext) -> Any:
    return await context.invoke("other", 1, "call")


def both(*factories: Any) -> list[DurableFunction]:
    return [blocking(invoke, *factories), awaiting(async_invoke, *factories)]


def invoked(function: DurableFunction) -> OperationUpdate:
    """Return the update that started the chained invoke."""
    host = Hosted(function, None, (), ["other"])
    host.run()
    host.end_invoke("SUCCEEDED", "1")
    assert host.run() == Succeeded("1")
    (update,) = (update for call in host.calls for update in call)
    return update


def test_a_header_of_a_plugin_travels_with_a_chained_invoke() -> None:
    for kind in (0, 1):
        recorder = Recorder(HEADER)
        update = invoked(both(recorder)[kind])
        assert update.trace_header == HEADER
        (target,) = recorder.targets  # and not again on replay
        assert target == PropagationInput(target.execution_arn, update.id, "other", None)
        assert "/durable-execution/" in target.execution_arn


def test_without_plugins_no_header_is_given() -> None:
    assert [invoked(function).trace_header for function in both()] == [None, None]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        PropagationMetadata(),
        PropagationMetadata(" "),
        PropagationMetadata("x" * (TRACE_HEADER_CHARS_MAX + 1)),
        PropagationMetadata(7),  # type: ignore[arg-type]
        "a header",
    ],
)
def test_the_first_header_that_is_not_blank_is_heard(answer: Any) -> None:
    factories = [
        Factory(lambda: Giving(answer)),
        Factory(lambda: Giving(PropagationMetadata("first"))),
        Factory(lambda: Giving(PropagationMetadata("second"))),
    ]
    assert [invoked(each).trace_header for each in both(*factories)] == ["first", "first"]


def test_a_header_of_the_largest_size_is_heard() -> None:
    header = "x" * TRACE_HEADER_CHARS_MAX
    factory = Factory(lambda: Giving(PropagationMetadata(header)))
    assert [invoked(each).trace_header for each in both(factory)] == [header, header]


def chain(first: Any, second: Any, third: Any) -> list[DurableFunction]:
    """Return three functions, each of which invokes the next one."""

    def calling(name: str) -> Any:
        def call(_event: Any, context: DurableContext) -> Any:
            return context.invoke(name, None, config=InvokeConfig[None, Any]())

        return call

    return [
        DurableFunction(calling("second"), FunctionSettings("first"), plugins=(first,)),
        DurableFunction(calling("third"), FunctionSettings("second"), plugins=(second,)),
        DurableFunction(lambda _event, _context: 3, FunctionSettings("third"), plugins=(third,)),
    ]


def seen(recorder: Recorder) -> set[str | None]:
    """Return the headers that a plugin received for its executions."""
    return {info.trace_header for info in recorder.infos if isinstance(info, InvocationInfo)}


def test_a_plugin_receives_the_header_of_its_execution() -> None:
    first, second, third = Recorder("a"), Recorder(), Recorder()
    top, *others = chain(first, second, third)
    with DurableFunctionTestRunner(top) as runner:
        for function in others:
            runner.register_durable_function(function.settings.name, function)
        assert runner.run().value == 3
    # What is given goes to the child, and from there on to the child's child.
    assert (seen(first), seen(second), seen(third)) == ({None}, {"a"}, {"a"})


def test_a_child_hands_on_its_own_header_if_it_gives_one() -> None:
    first, second, third = Recorder("a"), Recorder("b"), Recorder()
    top, *others = chain(first, second, third)
    with DurableFunctionTestRunner(top) as runner:
        for function in others:
            runner.register_durable_function(function.settings.name, function)
        runner.run()
    assert seen(third) == {"b"}
