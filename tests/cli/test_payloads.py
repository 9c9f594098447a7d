"""Payloads on a command line are JSON, from the line itself, a file, or standard input."""

import io
from pathlib import Path

import pytest
import typer

from perdure_cli.payloads import read_payload


def test_json_on_the_line_travels_without_its_blanks() -> None:
    assert read_payload('{"id":  1}', "--payload") == '{"id":1}'
    assert (
        read_payload('{"price": 1.10, "note": "a b"}', "--payload") == '{"price":1.10,"note":"a b"}'
    )


def test_nothing_given_is_nothing_sent() -> None:
    assert read_payload(None, "--payload") is None


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    path.write_text('{"id": "ü"}', encoding="utf-8")
    assert read_payload(f"@{path}", "--payload") == '{"id":"ü"}'


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("[1, 2]"))
    assert read_payload("-", "--payload") == "[1,2]"


@pytest.mark.parametrize("argument", ["{id: 1}", "approved", "", "{"])
def test_what_is_no_json_is_a_usage_error(argument: str) -> None:
    with pytest.raises(typer.BadParameter, match="the value is not JSON"):
        read_payload(argument, "--payload")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(typer.BadParameter, match="cannot read /nowhere: No such file"):
        read_payload("@/nowhere", "--payload")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "order.bin"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(typer.BadParameter, match=r"order.bin is not UTF-8"):
        read_payload(f"@{path}", "--payload")


def test_a_file_that_holds_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    path.write_text("order 1")
    with pytest.raises(typer.BadParameter, match=r"order.json is not JSON"):
        read_payload(f"@{path}", "--payload")
