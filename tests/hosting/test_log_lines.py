"""Log lines of hosted handlers keep what was logged and printed."""

import json
import logging
import math
from typing import Any

import pytest

from perdure_worker.hosting.log_lines import LineFormat, LogFormatter


def logged(form: LineFormat, msg: str, *args: object, **extra: object) -> str:
    record = logging.LogRecord("shop", logging.INFO, "f.py", 1, msg, args, None)
    vars(record).update(extra)
    return LogFormatter(form, "logs").of_record(record, "request", None)


@pytest.mark.parametrize("form", LineFormat)
def test_extra_fields_are_in_the_line(form: LineFormat) -> None:
    assert "o-17" in logged(form, "sold", order="o-17")
    assert "o-17" in logged(form, "sold", requestId="o-17")


@pytest.mark.parametrize("form", LineFormat)
def test_a_record_that_does_not_print_is_kept(form: LineFormat) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise ValueError("no text")

        __repr__ = __str__

    lines = [
        logged(form, "order %s of %s", "o-17"),
        logged(form, "order o-17 %s", Unprintable()),
        logged(form, "order o-17", price=math.nan),
        logged(form, "order o-17", price=Unprintable()),
    ]
    for line in lines:
        assert "o-17" in line
        if form is LineFormat.JSON:
            assert json.loads(line, parse_constant=pytest.fail)["logger"] == "shop"


def test_a_printed_json_object_stays_an_object() -> None:
    lines = LogFormatter(LineFormat.JSON, "logs")
    text = '{"operationId": "o-17", "nested": {"a": [1]}}'
    assert lines.plain(text, "request", 0.0) == text


@pytest.mark.parametrize("text", ["[1]", "{no", "plain", "7", "{" * 100_000, '{"a": NaN}'])
def test_anything_else_that_is_printed_becomes_a_message(text: str) -> None:
    line: dict[str, Any] = json.loads(LogFormatter(LineFormat.JSON, "logs").plain(text, "r", 0.0))
    assert (line["message"], line["logger"]) == (text, "stdout")
