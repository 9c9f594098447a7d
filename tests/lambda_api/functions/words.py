"""Values that the programs share: waits, retry strategies, and errors as results."""

from collections.abc import Callable
from typing import Any, Final

from aws_durable_execution_sdk_python.config import Duration
from aws_durable_execution_sdk_python.exceptions import DurableExecutionsError
from aws_durable_execution_sdk_python.retries import RetryDecision

# No clock decides: it is over once a test says so.
LATER: Final = Duration.from_seconds(60)


def once_more(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision.retry(LATER) if attempt == 1 else RetryDecision.no_retry()


def never(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision.no_retry()


def caught(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or the type and message of its error."""
    try:
        return call()
    except DurableExecutionsError as error:
        return {"raised": str(error), "type": type(error).__name__}
