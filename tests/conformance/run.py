"""The result of running a scenario in any mode, and its comparison with what is expected."""

from dataclasses import dataclass

from perdure.testing import ExecutionHistory
from tests.conformance.facts import disagreement, facts
from tests.conformance.scenario import End, Scenario


@dataclass(frozen=True)
class Run:
    """The end of an execution, its history, and how many checkpoints its workers made."""

    end: End
    history: ExecutionHistory
    checkpoints: int


def problem(scenario: Scenario, run: Run, *, crashed: bool = False) -> str | None:
    """Return how a run differs from what its scenario expects, or None."""
    found = facts(run.history, crashed=crashed)
    allowed = [scenario.expected]
    if crashed and scenario.interrupted is not None:
        allowed.append(scenario.interrupted)
    problems: list[str] = []
    for each in allowed:
        text = disagreement(
            each.history, found, abandoned=scenario.abandoned, meanwhile=scenario.meanwhile
        )
        if run.end == each.end and text is None:
            return None
        problems.append(f"expected {each.end}, found {run.end}\n{text or ''}")
    return "\n".join(problems)
