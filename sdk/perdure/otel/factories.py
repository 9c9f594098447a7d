"""What functions are given: factories of the two views, of which a function has one at most."""

from typing import ClassVar, Final

from perdure.otel.config import OtelPluginConfig
from perdure.otel.execution_plugin import ExecutionOtelPlugin
from perdure.otel.invocation_plugin import InvocationOtelPlugin
from perdure.plugins.hooks import InvocationStartInfo

_GROUP: Final = "aws-durable-execution-otel-view"


class ExecutionOtelPluginFactory:
    """Makes the plugins that show executions as wholes."""

    __durable_registration_api__: ClassVar[int] = 1
    exclusive_group: ClassVar[str | None] = _GROUP

    def __init__(self, config: OtelPluginConfig | None = None) -> None:
        self.config = config

    def create_plugin(self, info: InvocationStartInfo) -> ExecutionOtelPlugin:  # noqa: ARG002 - it is told again
        """Return the plugin of one invocation."""
        return ExecutionOtelPlugin(self.config)


class InvocationOtelPluginFactory:
    """Makes the plugins that show each invocation for itself."""

    __durable_registration_api__: ClassVar[int] = 1
    exclusive_group: ClassVar[str | None] = _GROUP

    def __init__(self, config: OtelPluginConfig | None = None) -> None:
        self.config = config

    def create_plugin(self, info: InvocationStartInfo) -> InvocationOtelPlugin:  # noqa: ARG002 - it is told again
        """Return the plugin of one invocation."""
        return InvocationOtelPlugin(self.config)


EXECUTION_OTEL_PLUGIN_FACTORY: Final = ExecutionOtelPluginFactory()
INVOCATION_OTEL_PLUGIN_FACTORY: Final = InvocationOtelPluginFactory()
