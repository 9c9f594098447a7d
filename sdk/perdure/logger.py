"""Public module: the replay-aware logger."""

from perdure.primitives.logger import Logger, log_extra

__all__ = [
    "Logger",
    "log_extra",
]
