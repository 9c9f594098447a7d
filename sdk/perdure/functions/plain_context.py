"""The context of a plain function: its execution, deadline and logger."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from perdure.primitives.operation_contexts import LoggerInterface


def _system_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class PlainContext:
    """The execution of a plain function, and its deadline. It has no durable operations.

    Records of `logger` carry `executionArn`. `deadline` is when the execution times out; None if
    nothing limits it. `tenant_id` is that of the invoke which started the execution, if it had
    one. `now` is the clock of `remaining_s`.
    """

    execution_arn: str
    function_name: str
    logger: LoggerInterface
    deadline: datetime | None = None
    tenant_id: str | None = None
    now: Callable[[], datetime] = _system_now

    @property
    def remaining_s(self) -> float:
        """The seconds until the deadline, 0 when it has passed."""
        if self.deadline is None:
            return math.inf
        return max(0.0, (self.deadline - self.now()).total_seconds())
