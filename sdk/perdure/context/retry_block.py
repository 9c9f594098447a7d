"""The rules of retrying a block of durable operations."""

from collections.abc import Callable
from functools import partial
from typing import Any

from perdure.exceptions import UnrecoverableError
from perdure.operations.program import Program, RunChild
from perdure.operations.retry_after import retry_after_ms
from perdure.primitives.duration import Duration
from perdure.primitives.user_code import raised_error
from perdure.settings.retry_strategies import RetryStrategy, delay_ms


def retry_block(
    func: Callable[[int], Any],
    strategy: RetryStrategy,
    name: str | None,
    *,
    wait: Callable[[Duration, str | None], Program[None]],
    now_ms: Callable[[], int],
) -> Program[Any]:
    """Call `func(attempt)` until it does not raise, or the strategy stops."""
    attempt = 1
    while True:  # until the strategy stops
        try:
            return (yield RunChild(partial(func, attempt)))
        except UnrecoverableError:
            raise
        except Exception as error:
            raised = raised_error(error)
            if not isinstance(raised, Exception):  # SystemExit and its like
                raise
            decision = strategy(raised, attempt)
            if not decision.should_retry:
                raise
            hint_ms = retry_after_ms(raised, now_ms)
        yield from wait(
            Duration.from_milliseconds(max(delay_ms(decision.delay), hint_ms)),
            f"{name}-backoff-{attempt}" if name else None,
        )
        attempt += 1
