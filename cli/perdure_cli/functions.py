"""`perdure functions …`: list the registered functions, and register more before their workers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_error, print_json, stdout_console
from perdure_cli.session import Session, connected
from perdure_cli.tables import show_functions
from perdure_cli.worker import ModulesArgument

if TYPE_CHECKING:
    from perdure.worker_api import RegisteredFunction

app = typer.Typer(no_args_is_help=True, help="List functions, and register them beforehand.")


@app.command("list")
@connected
def list_functions(session: Session) -> None:
    """List functions, with the number of workers that are connected for each."""
    with session.client() as client:
        found = client.list_functions()
    if session.for_programs:
        print_json([each.to_json() for each in found])
    else:
        show_functions(stdout_console(), found)


@app.command()
@connected
def register(session: Session, modules: ModulesArgument) -> None:
    """Register the functions of Python modules before a worker serves them.

    Executions can be started from then on, and wait for a worker.
    """
    functions = _load(modules)
    names = sorted(each.settings.name for each in functions)
    with session.client() as client:
        client.register_functions(functions)
    if session.for_programs:
        print_json(names)
    else:
        stdout_console().print("registered " + ", ".join(names), markup=False)


def _load(modules: Sequence[str]) -> "Sequence[RegisteredFunction]":
    from perdure_worker.modules import ModuleLoadError, load_functions

    try:
        return load_functions(modules)
    except ModuleLoadError as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.INVALID) from None
