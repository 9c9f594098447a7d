"""Payloads on the command line: JSON itself, `@FILE` for a file's content, `-` for standard input.

The text is sent byte for byte, because a second start with the same name must have an equal
payload: `aws lambda invoke` sends exactly the same bytes of a file.
"""

import json
from pathlib import Path

import msgspec
import typer


def read_payload(argument: str | None, option: str) -> str | None:
    """Return the JSON that an option names, unchanged. Raises typer.BadParameter."""
    if argument is None:
        return None
    text = _text(argument, option)
    try:
        json.loads(text)
        # The service's own parser, which rejects NaN.
        msgspec.json.decode(text, type=msgspec.Raw)
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        problem = f"{_source(argument)} is not JSON: {error}"
        raise typer.BadParameter(problem, param_hint=option) from None
    return text


def _text(argument: str, option: str) -> str:
    if argument == "-":
        content = typer.get_binary_stream("stdin").read()
    elif argument.startswith("@"):
        content = _content(argument[1:], option)
    else:
        return argument
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{_source(argument)} is not UTF-8", param_hint=option) from None


def _content(path: str, option: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        problem = f"cannot read {path}: {error.strerror}"
        raise typer.BadParameter(problem, param_hint=option) from None


def _source(argument: str) -> str:
    if argument == "-":
        return "standard input"
    return argument[1:] if argument.startswith("@") else "the value"
