"""Logging: everything that the process logs goes to one stream in one format."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from perdure_host.telemetry import configure_logging, open_log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_hold_the_event_and_its_values() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    open_log("node").info("node started", port=7)
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp")
    assert line == {"event": "node started", "port": 7, "level": "info", "logger": "node"}


def test_what_libraries_log_takes_the_same_form() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    logging.getLogger("somebody").warning("watch %s", "out")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"]) == ("watch out", "warning")


def test_text_lines_are_for_people() -> None:
    stream = io.StringIO()
    configure_logging("text", stream=stream)
    open_log("node").warning("node started", port=7)
    assert "node started" in stream.getvalue()
    assert "port=7" in stream.getvalue()
