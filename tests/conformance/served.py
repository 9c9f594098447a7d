"""What the live worker serves: every scenario in both forms, and what they invoke."""

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
