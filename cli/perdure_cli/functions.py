"""`perdure functions …`: list the functions that workers have registered."""

import typer

from perdure_cli.output import print_json, stdout_console
from perdure_cli.session import Session, connected
from perdure_cli.tables import show_functions

app = typer.Typer(no_args_is_help=True, help="List the functions that workers have registered.")


@app.callback()
def functions() -> None:
    """Keep `list` a command of its own: Typer would merge a single one into the group."""


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
