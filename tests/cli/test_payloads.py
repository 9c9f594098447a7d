"""Payloads on a command line are JSON, from the line itself, a file, or standard input."""

import io
from pathlib import Path

import pytest
import typer

from perdure_cli.payloads import read_payload


def standard_input(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


def test_json_on_the_command_line_is_sent_unchanged() -> None:
    payload = '{"price": 1.10,  "note": "a b"}\n'
    assert read_payload(payload, "--payload") == payload


def test_without_a_payload_nothing_is_sent() -> None:
    assert read_payload(None, "--payload") is None


def test_a_file_is_sent_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    payload = '{\r\n  "id": "ü"\r\n}\r\n'.encode()
    path.write_bytes(payload)
    sent = read_payload(f"@{path}", "--payload")
    assert sent is not None
    assert sent.encode() == payload


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b"[1, 2]\r\n"))
    assert read_payload("-", "--payload") == "[1, 2]\r\n"


def test_standard_input_that_is_not_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", standard_input(b"\xff\xfe"))
    with pytest.raises(typer.BadParameter, match="standard input is not UTF-8"):
        read_payload("-", "--payload")


@pytest.mark.parametrize("argument", ["{id: 1}", "approved", "", "{", "NaN", "[" * 5_000])
def test_what_is_not_json_is_a_usage_error(argument: str) -> None:
    with pytest.raises(typer.BadParameter, match="the value is not JSON"):
        read_payload(argument, "--payload")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(typer.BadParameter, match="cannot read /nowhere: No such file"):
        read_payload("@/nowhere", "--payload")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "order.bin"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(typer.BadParameter, match=r"order.bin is not UTF-8"):
        read_payload(f"@{path}", "--payload")


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    path.write_text("order 1")
    with pytest.raises(typer.BadParameter, match=r"order.json is not JSON"):
        read_payload(f"@{path}", "--payload")
