"""Every scenario in this process: on the bare core and in the testing kit, in both forms.

Each is run whole, and then once with its worker lost right before and right after each checkpoint.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from perdure.testing import Crash as KitCrash
from tests.conformance.all import SCENARIOS
from tests.conformance.hosted_mode import run_hosted
from tests.conformance.kit_mode import run_in_kit
from tests.conformance.run import Run, problem
from tests.conformance.scenario import End, Scenario
from tests.sdk.hosted import Crash

FORMS: Final = ("blocking", "awaiting")

OneRun = Callable[..., Run]
MODES: Final[dict[str, tuple[OneRun, Callable[..., Any]]]] = {
    "hosted": (run_hosted, Crash),
    "kit": (run_in_kit, KitCrash),
}

every_scenario = pytest.mark.parametrize("name", SCENARIOS)
every_form = pytest.mark.parametrize("form", FORMS)


def crashes_of(mode: str, scenario: Scenario, form: str) -> Iterator[tuple[str, Run]]:
    """Run a scenario once for each moment at which its worker may die."""
    run, crash = MODES[mode]
    function = getattr(scenario, form)
    for number in range(1, run(scenario, function).checkpoints + 1):
        for accepted in (False, True):
            moment = f"right {'after' if accepted else 'before'} checkpoint {number}"
            yield moment, run(scenario, function, crash(number, accepted=accepted))


@every_form
@every_scenario
@pytest.mark.parametrize("mode", MODES)
def test_a_scenario_comes_to_what_it_must(mode: str, name: str, form: str) -> None:
    # Virtual time passes when nothing runs: every branch gets as far as it ever does.
    scenario = replace(SCENARIOS[name], abandoned=())
    run, _ = MODES[mode]
    assert (found := problem(scenario, run(scenario, getattr(scenario, form)))) is None, found


@every_form
@every_scenario
def test_a_scenario_that_is_replayed_at_every_checkpoint_does_too(name: str, form: str) -> None:
    scenario = SCENARIOS[name]
    run = run_in_kit(scenario, getattr(scenario, form), always_replay=True)
    assert (found := problem(scenario, run)) is None, found


@every_form
@every_scenario
@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_checkpoint_changes_nothing(mode: str, name: str, form: str) -> None:
    scenario = SCENARIOS[name]
    ends: set[End] = set()
    for moment, run in crashes_of(mode, scenario, form):
        found = problem(scenario, run, crashed=True)
        assert found is None, f"a worker that dies {moment} changes it: {found}"
        ends.add(run.end)
    if scenario.interrupted is not None:
        assert ends == {scenario.expected.end, scenario.interrupted.end}
