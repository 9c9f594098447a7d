"""An execution that is paused because a replay of its code diverged from its history."""

from perdure.client.models import ExecutionDescription
from perdure_core.completion import DIVERGED_REASON


def has_diverged(execution: ExecutionDescription) -> bool:
    """Return whether the execution is paused for this reason."""
    return execution.pause is not None and execution.pause.diverged


def difference(execution: ExecutionDescription) -> list[str]:
    """Return what was recorded and what the code requested, as lines."""
    reason = "" if execution.pause is None else execution.pause.reason or ""
    return reason.removeprefix(f"{DIVERGED_REASON}: ").splitlines()


def how_to_go_on(execution: ExecutionDescription) -> str:
    """Return what to do, as a sentence."""
    return f"Mend the code, then: perdure executions resume '{execution.execution_arn}'"
