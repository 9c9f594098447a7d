"""Tracer provider, and the export of its remaining spans before the process ends."""

import atexit
import weakref
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk import trace as sdk

from perdure.otel.config import OtelPluginConfig

# A worker that drains must exit before it is killed: after 30 s on Kubernetes.
FLUSH_MS_MAX: Final = 5_000

_providers: Final = weakref.WeakSet[sdk.TracerProvider]()


@dataclass(frozen=True)
class ProviderResult:
    """The provider, and whether it is the global one."""

    tracer_provider: trace.TracerProvider
    uses_global_provider: bool


def create_tracer_provider(config: OtelPluginConfig) -> ProviderResult:
    """Return the configured provider, or else the global one."""
    configured = config.tracer_provider
    if configured is not None:
        return ProviderResult(configured, uses_global_provider=False)
    return ProviderResult(trace.get_tracer_provider(), uses_global_provider=True)


def flush_at_exit(provider: trace.TracerProvider) -> None:
    """Flush a provider when the process ends."""
    if isinstance(provider, sdk.TracerProvider):
        _providers.add(provider)


def _flush() -> None:
    for provider in list(_providers):
        provider.force_flush(FLUSH_MS_MAX)


atexit.register(_flush)
