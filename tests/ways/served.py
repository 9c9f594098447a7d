"""What the live worker serves: every scenario in both forms, and what they invoke."""

from tests.ways.all import SCENARIOS
from tests.ways.scenarios.invokes import TARGETS

globals().update(
    {
        function.settings.name: function
        for each in SCENARIOS.values()
        for function in (each.blocking, each.awaiting)
    }
    | TARGETS
)
