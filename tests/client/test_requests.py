"""Requests built from the arguments of client calls."""

from datetime import UTC, datetime

import pytest

from perdure.client.errors import InvalidArgumentError
from perdure.client.requests import error_message, list_request, payload_text, start_request


def test_a_value_travels_as_compact_json_in_its_own_order() -> None:
    assert payload_text({"b": 1, "a": "ü"}, None) == '{"b":1,"a":"ü"}'


def test_text_travels_as_it_is() -> None:
    assert payload_text(None, "{ } ") == "{ } "


def test_nothing_travels_for_none() -> None:
    assert payload_text(None, None) is None


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), "\ud800", object()])
def test_a_value_that_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="the payload must be JSON"):
        payload_text(value, None)


def test_a_value_that_contains_itself_is_refused() -> None:
    knot: list[object] = []
    knot.append(knot)
    with pytest.raises(InvalidArgumentError, match="the payload must be JSON"):
        payload_text(knot, None)


def test_value_and_text_at_once_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="got both"):
        payload_text({}, "{}")


def test_a_start_without_a_payload_has_no_input() -> None:
    request = start_request("order", "n", None, None, execution_timeout_s=60, retention_days=None)
    assert not request.HasField("input")
    assert not request.HasField("retention_days")
    assert request.execution_timeout_seconds == 60


def test_a_number_beyond_the_message_is_the_callers_fault() -> None:
    with pytest.raises(InvalidArgumentError):
        start_request("order", "n", None, None, execution_timeout_s=10**12, retention_days=None)


def test_an_error_without_parts_is_no_error() -> None:
    assert error_message(None, None, None, ()) is None


def test_a_list_asks_for_what_was_given() -> None:
    request = list_request(
        function_name="order",
        execution_name=None,
        execution_name_prefix="order-",
        statuses=["FAILED"],
        started_after=datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC),
        started_before=None,
        oldest_first=True,
        page_items=10,
        marker="m",
    )
    assert (request.function_name, request.execution_name) == ("order", "")
    assert request.execution_name_prefix == "order-"
    assert (list(request.statuses), request.started_after.seconds) == (["FAILED"], 5)
    assert not request.HasField("started_before")
    assert (request.reverse_order, request.max_items, request.marker) == (True, 10, "m")


@pytest.mark.parametrize("field", ["function_name", "name", "name_prefix"])
def test_an_empty_filter_is_refused(field: str) -> None:
    filters: dict[str, str | None] = dict.fromkeys(
        ("function_name", "execution_name", "execution_name_prefix")
    )
    filters[field if field in filters else f"execution_{field}"] = ""
    with pytest.raises(InvalidArgumentError, match=f"^{field} must be at least 1 character"):
        list_request(
            **filters,
            statuses=(),
            started_after=None,
            started_before=None,
            oldest_first=False,
            page_items=1,
            marker="",
        )
