"""Public module: retry strategies, and `with_retry` for blocks of durable operations."""

from perdure.context.with_retry import with_retry
from perdure.primitives.jitter import JitterStrategy
from perdure.settings.operations import WithRetryConfig
from perdure.settings.retry_strategies import (
    LinearRetryStrategyConfig,
    RetryDecision,
    RetryPresets,
    RetryStrategy,
    RetryStrategyConfig,
    create_linear_retry_strategy,
    create_retry_strategy,
)

__all__ = [
    "JitterStrategy",
    "LinearRetryStrategyConfig",
    "RetryDecision",
    "RetryPresets",
    "RetryStrategy",
    "RetryStrategyConfig",
    "WithRetryConfig",
    "create_linear_retry_strategy",
    "create_retry_strategy",
    "with_retry",
]
