"""Logging: everything that the process logs goes to one stream in one format."""

import io
import json
import logging
import math
from collections.abc import Callable, Iterator

import pytest
import structlog

from perdure_host.telemetry import LogFormat, configure_logging, open_log


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


class Unprintable:
    """A value that does not print."""

    def __repr__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("form", ["text", "json"])
def test_extra_fields_are_in_the_line(form: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging(form, stream=stream, fields=lambda: {"executionArn": "arn:1", "order": "?"})
    logging.getLogger("shop").warning("sold", extra={"order": "o-17", "event": "sale"})
    line = stream.getvalue()
    if form == "json":
        fields = json.loads(line)
        assert (fields["event"], fields["event_"]) == ("sold", "sale")
        assert (fields["executionArn"], fields["order"]) == ("arn:1", "o-17")
    else:
        assert all(each in line for each in ("sold", "sale", "arn:1", "o-17"))


ODD: dict[str, Callable[[logging.Logger], None]] = {
    "too few arguments": lambda target: target.warning("order %s of %s", "o-17"),
    "an argument that does not print": lambda target: target.warning(
        "order o-17 %s", Unprintable()
    ),
    "a field that does not print": lambda target: target.warning(
        "order o-17", extra={"a": Unprintable()}
    ),
    "a field that JSON lacks": lambda target: target.warning("order o-17", extra={"a": math.nan}),
    "a field that contains itself": lambda target: target.warning(
        "order o-17", extra={"a": endless()}
    ),
    "an error beside it": lambda target: target.warning(
        "order o-17 %d", "a", exc_info=KeyError("why")
    ),
    "no exception": lambda target: target.warning("order o-17", exc_info=True),
}


def endless() -> list[object]:
    """Return a list that contains itself."""
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("log", ODD.values(), ids=ODD)
def test_a_record_that_does_not_render_is_written_as_text(
    log: Callable[[logging.Logger], None], form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    configure_logging(form, stream=stream)
    log(logging.getLogger("shop"))
    line = stream.getvalue()
    assert "order" in line
    assert "o-17" in line
    assert "NoneType" not in line
    if form == "json":
        assert json.loads(line, parse_constant=pytest.fail)["logger"] == "shop"
    assert "Logging error" not in capsys.readouterr().err


def test_a_line_of_the_program_itself_that_does_not_render_is_written_as_text() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    open_log("node").info("node started", port=Unprintable())
    assert "node started" in json.loads(stream.getvalue())["event"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_tracebacks_hold_no_values_of_variables(form: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging(form, stream=stream)

    def fail(token: str) -> None:
        payload = {"card": token * 2}
        raise ValueError(f"{len(payload)} cards")

    secret = "4111"
    for log in (open_log("node").error, logging.getLogger("library").error):
        try:
            fail(secret)
        except ValueError as error:
            log("unexpected error", exc_info=error)
    written = stream.getvalue()
    assert written.count("ValueError: 1 cards") == 2
    assert "4111" not in written
