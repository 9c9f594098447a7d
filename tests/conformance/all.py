"""All scenarios, by name."""

from typing import Final

from tests.conformance.scenario import Scenario
from tests.conformance.scenarios import (
    batches,
    callbacks,
    children,
    completions,
    compositions,
    conditions,
    invokes,
    steps,
    values,
    waits,
)

MODULES: Final = (
    steps,
    waits,
    values,
    callbacks,
    conditions,
    invokes,
    children,
    batches,
    completions,
    compositions,
)

SCENARIOS: Final[dict[str, Scenario]] = {
    value.name: value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, Scenario)
}
