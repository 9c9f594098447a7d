"""Which provider makes the spans, and that what it holds is exported before the process ends."""

import atexit
import weakref
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk import trace as sdk

from perdure.otel.config import OtelPluginConfig

# A worker that drains has to be gone before whoever stops it loses patience: 30 s on Kubernetes.
FLUSH_MS_MAX: Final = 5_000

_providers: Final = weakref.WeakSet[sdk.TracerProvider]()


@dataclass(frozen=True)
class ProviderResult:
    """The provider, and whether it is the global one for want of another."""

    tracer_provider: trace.TracerProvider
    uses_global_provider: bool


def create_tracer_provider(config: OtelPluginConfig) -> ProviderResult:
    """Return the provider that the configuration names, or else the global one."""
    named = config.tracer_provider
    if named is not None:
        return ProviderResult(named, uses_global_provider=False)
    return ProviderResult(trace.get_tracer_provider(), uses_global_provider=True)


def flush_at_exit(provider: trace.TracerProvider) -> None:
    """Have a provider export what it holds when the process ends, whoever owns it."""
    if isinstance(provider, sdk.TracerProvider):
        _providers.add(provider)


def _flush() -> None:
    for provider in list(_providers):
        provider.force_flush(FLUSH_MS_MAX)


atexit.register(_flush)
