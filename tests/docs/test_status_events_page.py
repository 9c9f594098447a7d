"""The page on status-change events: the events it shows, and the program that reads them."""

import json
import re
from typing import Any

from perdure_host.lambda_json.status_events import status_event
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import ExecutionKey, StatusEventRow
from tests.system.processes import ROOT

PAGE = (ROOT / "docs" / "status-events.md").read_text(encoding="utf-8")
ROW = StatusEventRow(
    key=ExecutionKey(7, "0123456789abcdef0123456789abcdef"),
    event_id=9,
    at_ms=1_772_366_405_125,
    namespace="default",
    function="process_order",
    name="order-1",
    status="SUCCEEDED",
    started_ms=1_772_366_400_250,
    ended_ms=1_772_366_405_125,
)


def block(language: str) -> str:
    """Return the one block of this language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


def test_the_event_of_the_page_is_what_a_sink_receives() -> None:
    event = status_event(ROW)
    assert json.loads(block("json")) == json.loads(event.body)
    # Fields stand in the page's order, too, and take one line.
    assert event.body.decode() == json.dumps(json.loads(block("json")), separators=(",", ":"))


def test_the_reader_of_the_page_skips_half_lines_and_repetitions() -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    seen = {"a"}
    lines = ['{"id": "a"}', '{"id": "b"', '{"id": "b"}', '{"id": "b"}', '{"id": "c"}']
    assert names["new_events"](lines, seen) == [{"id": "b"}, {"id": "c"}]
    assert seen == {"a", "b", "c"}


def test_the_metrics_of_the_page_are_exposed() -> None:
    named = set(re.findall(r"^\| `(perdure_\w+)`", PAGE, re.MULTILINE))
    exposed = {
        sample.name for family in ServerMetrics().registry.collect() for sample in family.samples
    }
    assert len(named) == 4
    assert named == {name for name in exposed if name.startswith("perdure_status_events")}
