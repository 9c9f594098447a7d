"""Plugin factories of the two views. A function has at most one of them."""

from typing import ClassVar, Final

from perdure.otel.config import OtelPluginConfig
from perdure.otel.execution_plugin import ExecutionOtelPlugin
from perdure.otel.invocation_plugin import InvocationOtelPlugin
from perdure.plugins.hooks import InvocationStartInfo

_GROUP: Final = "aws-durable-execution-otel-view"


class ExecutionOtelPluginFactory:
    """Creates the plugins that show an execution as one tree of spans."""

    __durable_registration_api__: ClassVar[int] = 1
    exclusive_group: ClassVar[str | None] = _GROUP

    def __init__(self, config: OtelPluginConfig | None = None) -> None:
        self.config = config

    def create_plugin(self, info: InvocationStartInfo) -> ExecutionOtelPlugin:  # noqa: ARG002 - the start hook receives it again
        """Return the plugin of one invocation."""
        return ExecutionOtelPlugin(self.config)


class InvocationOtelPluginFactory:
    """Creates the plugins that show each invocation as a tree of its own."""

    __durable_registration_api__: ClassVar[int] = 1
    exclusive_group: ClassVar[str | None] = _GROUP

    def __init__(self, config: OtelPluginConfig | None = None) -> None:
        self.config = config

    def create_plugin(self, info: InvocationStartInfo) -> InvocationOtelPlugin:  # noqa: ARG002 - the start hook receives it again
        """Return the plugin of one invocation."""
        return InvocationOtelPlugin(self.config)


EXECUTION_OTEL_PLUGIN_FACTORY: Final = ExecutionOtelPluginFactory()
INVOCATION_OTEL_PLUGIN_FACTORY: Final = InvocationOtelPluginFactory()
