"""The functions of the live worker: every scenario in both forms, and those they invoke."""

from tests.conformance.all import SCENARIOS
from tests.conformance.scenarios.invokes import TARGETS

globals().update(
    {
        function.settings.name: function
        for each in SCENARIOS.values()
        for function in (each.blocking, each.awaiting)
    }
    | TARGETS
)
