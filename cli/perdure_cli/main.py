"""Entry point of the `perdure` command: registers the sub-commands, one per file."""

import sys
from importlib.metadata import PackageNotFoundError, version
from shutil import get_terminal_size
from typing import Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup

from perdure_cli import callbacks, executions, functions
from perdure_cli.check import check
from perdure_cli.dev import dev
from perdure_cli.exit_codes import MEANINGS, ExitCode
from perdure_cli.export import export
from perdure_cli.invoke import invoke
from perdure_cli.output import drop_output, print_text
from perdure_cli.server import migrate, serve
from perdure_cli.worker import work

_EPILOG: Final = "\n\n".join(
    ["Exit status:", *(f"{code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())]
)


# Narrower, and help is plain text.
BOXES_COLUMNS_MIN: Final = 72


def _set_markup_mode(command: Any, mode: Literal["rich"] | None) -> None:
    command.rich_markup_mode = mode
    for each in getattr(command, "commands", {}).values():
        _set_markup_mode(each, mode)


class _Commands(TyperGroup):
    """All commands. One whose reader has gone, as in `perdure … | head`, ends well."""

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """Read the arguments. Help in boxes would cut the names of options on a narrow terminal."""
        columns = get_terminal_size().columns
        narrow = columns < BOXES_COLUMNS_MIN
        _set_markup_mode(self, None if narrow else "rich")
        if narrow:
            extra["terminal_width"] = columns
        return super().make_context(*arguments, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()
            raise typer.Exit(ExitCode.OK) from None
        return result


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
app.command("dev", rich_help_panel="Run")(dev)
app.command("server", rich_help_panel="Run")(serve)
app.command("worker", rich_help_panel="Run")(work)
app.command("migrate", rich_help_panel="Run")(migrate)
app.command("check", rich_help_panel="Run")(check)
app.command("invoke", rich_help_panel="Use")(invoke)
app.add_typer(executions.app, name="executions", rich_help_panel="Use")
executions.app.command("export")(export)
app.add_typer(callbacks.app, name="callbacks", rich_help_panel="Use")
app.add_typer(functions.app, name="functions", rich_help_panel="Use")


def main() -> None:
    """Run the command that the arguments name, and exit with one of `ExitCode`."""
    app(prog_name="perdure")


def _print_version(requested: bool) -> None:
    if requested:
        print_text(f"perdure {_installed_version()}")
        raise typer.Exit


@app.callback()
def perdure(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Durable functions that you host: run servers and workers, start and inspect executions."""


def _installed_version() -> str:
    try:
        return version("perdure")
    except PackageNotFoundError:
        return "(not installed)"
