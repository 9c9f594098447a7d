"""A handler written with version 3 of the AWS SDK, and a plugin that watches its operations."""

from contextlib import suppress
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import StepConfig
from aws_durable_execution_sdk_python.plugin import (
    DurableInstrumentationPlugin,
    InvocationStartInfo,
    OperationEndInfo,
)
from aws_durable_execution_sdk_python.retries import RetryPresets


class Listener(DurableInstrumentationPlugin):
    """Keeps how operations have ended."""

    def __init__(self, ends: list[Any]) -> None:
        self._ends = ends

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Keep the end of one."""
        self._ends.append([info.name, info.result, info.error and info.error.message])


class Listeners:
    """Makes a plugin for each invocation."""

    def __init__(self) -> None:
        self.ends: list[Any] = []

    def create_plugin(self, info: InvocationStartInfo) -> Listener:
        """Make one."""
        return Listener(self.ends)


LISTENERS = Listeners()


def fail(_step: Any) -> None:
    raise ValueError("no card")


def inner(child: DurableContext) -> int:
    return child.step(lambda _: 1, name="inner")


@durable_execution(plugins=[LISTENERS])  # type: ignore[call-arg]
def watched(event: Any, context: DurableContext) -> Any:
    context.step(lambda _: 4, name="sum")
    with suppress(Exception):
        context.step(fail, name="charge", config=StepConfig(retry_strategy=RetryPresets.none()))
    context.run_in_child_context(inner, name="outer")
    return LISTENERS.ends
