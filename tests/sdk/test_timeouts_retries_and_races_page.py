"""The code on `docs/timeouts-retries-and-races.md`, run as the page describes it."""

import pytest

from perdure.worker_api import Succeeded
from tests.sdk.hosted import Crash, Hosted
from tests.sdk.page_functions import functions_of

PAGE = "timeouts-retries-and-races.md"


@pytest.mark.parametrize(
    ("name", "event", "result", "seconds"),
    [
        ("ship_not_before_tomorrow", '{"order": "7"}', '"charged 7"', 86_400),
        ("approve", "{}", '"nobody answered"', 259_200),
        ("quote", "{}", '"1,000"', 0),
        ("pay", '{"cents": 250}', "250", 0),
        ("consult", None, '"answered"', 90),
        ("copy", None, "499", 1),
        ("publish", '{"pages": 3}', '"3 pages"', 0),
    ],
)
def test_a_function_of_the_page_does_what_it_says(
    name: str, event: str | None, result: str, seconds: int
) -> None:
    host = Hosted(functions_of(PAGE)[name], event)
    began_ms = host.now_ms
    assert host.finish() == Succeeded(result)
    assert host.now_ms - began_ms == seconds * 1_000


def test_the_booking_of_the_page_is_the_same_after_a_crash() -> None:
    function = functions_of(PAGE)["book"]
    outcome = Hosted(function, '{"order": "7"}').finish()
    assert isinstance(outcome, Succeeded)
    assert '"booked_at": "1970-01-01T00:16:40+00:00"' in str(outcome.result)
    for checkpoint in (1, 2):
        crash = Crash(checkpoint, accepted=True)
        assert Hosted(function, '{"order": "7"}', crashes=[crash]).finish() == outcome
