"""`perdure check`: finds code in durable functions that a replay would not repeat."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from perdure.lint import (
    Finding,
    Rule,
    UnreadableError,
    UnreadableFileError,
    check_file,
    find_files,
)
from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_error, print_json, stdout_console
from perdure_cli.session import OutputFormat, OutputOption

_FOUND: Final = 1

TargetsArgument = Annotated[
    list[str], typer.Argument(metavar="PATH|MODULE…", help="Files, folders, or importable names.")
]
IgnoreOption = Annotated[
    list[Rule],
    typer.Option("--ignore", metavar="RULE", help="A rule to skip; may be repeated."),
]


def check(
    targets: TargetsArgument,
    ignored: IgnoreOption = [],  # noqa: B006 - typer copies the list
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Find code in durable functions that a replay would not repeat, without running it.

    Exit status: 0 nothing found, 1 something found, 2 a target cannot be read.
    """
    findings, unreadable = _check(targets, ignored)
    if output is OutputFormat.JSON:
        print_json([_described(each) for each in findings])
    elif findings or not unreadable:
        _show(findings)
    for error in unreadable:
        print_error(str(error))
    if unreadable:
        raise typer.Exit(ExitCode.INVALID)
    raise typer.Exit(_FOUND if findings else ExitCode.OK)


def _check(
    targets: Sequence[str], ignored: Sequence[Rule]
) -> tuple[list[Finding], list[UnreadableError]]:
    findings: list[Finding] = []
    unreadable: list[UnreadableError] = []
    files: dict[Path, None] = {}
    for target in targets:
        try:
            files.update(dict.fromkeys(find_files(target)))
        except UnreadableError as error:
            unreadable.append(error)
    for file in files:
        try:
            findings.extend(check_file(file, ignored=ignored))
        except UnreadableFileError as error:
            unreadable.append(error)
    return findings, unreadable


def _described(finding: Finding) -> dict[str, Any]:
    return {
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "rule": finding.rule.value,
        "message": finding.message,
        "chain": list(finding.chain),
    }


def _show(findings: Sequence[Finding]) -> None:
    console = stdout_console()
    for each in findings:
        _show_finding(console, each)
    count = len(findings)
    summary = f"{count} finding{'' if count == 1 else 's'}" if count else "nothing found"
    console.print(Text(summary, style="bold red" if count else "green"))


def _show_finding(console: Console, finding: Finding) -> None:
    place = f"{finding.path}:{finding.line}:{finding.column}:"
    head = Text.assemble((place, "bold"), " ", (finding.rule.value, "bold red"), " ")
    console.print(head.append(finding.message), soft_wrap=True)
    if len(finding.chain) > 1:
        console.print(Text(f"    reached by {' → '.join(finding.chain)}", "dim"), soft_wrap=True)
    gutter = f"{finding.line:>5} │ "
    line = finding.source.replace("\t", " ")
    console.print(Text.assemble((gutter, "dim"), line), soft_wrap=True)
    marker = " " * (len(gutter) + finding.column - 1) + "^"
    console.print(Text(marker, "bold red"), soft_wrap=True)
    console.print()
