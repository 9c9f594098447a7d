"""Payloads on a command line: JSON as it is, `@FILE` for a file's content, `-` for standard input.

The text travels as it was written, but for blanks between its parts: without them an execution that
was started by a program and one that was started here have equal inputs when they say the same.
"""

import json
import sys
from pathlib import Path

import msgspec
import typer


def read_payload(argument: str | None, option: str) -> str | None:
    """Return the JSON that an option names, without blanks; a usage error says what is wrong."""
    if argument is None:
        return None
    text = _text(argument, option)
    try:
        json.loads(text)
        compact = msgspec.json.format(text, indent=-1)
    except (ValueError, msgspec.DecodeError) as error:
        problem = f"{_source(argument)} is not JSON: {error}"
        raise typer.BadParameter(problem, param_hint=option) from None
    return compact


def _text(argument: str, option: str) -> str:
    if argument == "-":
        return sys.stdin.read()
    if not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text(encoding="utf-8")
    except OSError as error:
        problem = f"cannot read {argument[1:]}: {error.strerror}"
        raise typer.BadParameter(problem, param_hint=option) from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{argument[1:]} is not UTF-8", param_hint=option) from None


def _source(argument: str) -> str:
    if argument == "-":
        return "standard input"
    return argument[1:] if argument.startswith("@") else "the value"
