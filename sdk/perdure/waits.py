"""Public module: polling strategies of `wait_for_condition`."""

from perdure.primitives.jitter import JitterStrategy
from perdure.settings.wait_strategies import (
    WaitForConditionConfig,
    WaitForConditionDecision,
    WaitStrategyConfig,
    create_wait_strategy,
)

__all__ = [
    "JitterStrategy",
    "WaitForConditionConfig",
    "WaitForConditionDecision",
    "WaitStrategyConfig",
    "create_wait_strategy",
]
