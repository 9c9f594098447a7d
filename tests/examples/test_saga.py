"""The saga example: everything booked, or cancelled in reverse order."""

import pytest

from examples.saga import book_trip
from perdure.testing import DurableFunctionTestRunner, for_each_crash


def test_a_trip_is_booked_although_a_connection_breaks() -> None:
    with DurableFunctionTestRunner(book_trip) as runner:
        result = runner.run({"trip_id": "t-1"})
    assert result.value == {
        "status": "booked",
        "bookings": {"flight": "t-1/flight", "hotel": "t-1/hotel", "car": "t-1/car"},
    }
    assert result.get_step("book-hotel").attempt == 2


@pytest.mark.parametrize(
    ("sold_out", "cancelled"),
    [("flight", []), ("hotel", ["flight"]), ("car", ["hotel", "flight"])],
)
def test_what_was_booked_before_is_cancelled_last_one_first(
    sold_out: str, cancelled: list[str]
) -> None:
    with DurableFunctionTestRunner(book_trip) as runner:
        result = runner.run({"trip_id": "t-2", "sold_out": sold_out})
    reason = f"no {sold_out} is left"
    assert result.value == {"status": "cancelled", "reason": reason, "cancelled": cancelled}
    done = [each.name for each in result.operations if (each.name or "").startswith("cancel-")]
    assert done == [f"cancel-{kind}" for kind in cancelled]


def test_a_cancelled_trip_is_cancelled_whenever_its_worker_dies() -> None:
    results = for_each_crash(book_trip, {"trip_id": "t-3", "sold_out": "car"})
    assert {result.value["status"] for result in results} == {"cancelled"}
