"""`perdure callbacks …`: complete callbacks that executions wait for."""

from typing import Annotated

import typer

from perdure_cli.output import print_json, stdout_console
from perdure_cli.payloads import read_payload
from perdure_cli.session import Session, connected

app = typer.Typer(no_args_is_help=True, help="Complete callbacks that executions wait for.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The callback's id.")]


@app.command()
@connected
def succeed(
    session: Session,
    callback_id: IdArgument,
    result: Annotated[
        str | None, typer.Option("--result", metavar="JSON|@FILE|-", help="The result.")
    ] = None,
) -> None:
    """Complete a callback with a result."""
    text = read_payload(result, "--result")
    with session.client() as client:
        client.succeed_callback(callback_id, result_text=text)
    _confirm(session, "callback succeeded")


@app.command()
@connected
def fail(
    session: Session,
    callback_id: IdArgument,
    error_type: Annotated[
        str | None, typer.Option("--error-type", help="The type of the error.")
    ] = None,
    error_message: Annotated[
        str | None, typer.Option("--error-message", help="The message of the error.")
    ] = None,
    error_data: Annotated[
        str | None, typer.Option("--error-data", help="Further data, as text.")
    ] = None,
) -> None:
    """Complete a callback with an error, which is raised where its result is awaited."""
    with session.client() as client:
        client.fail_callback(
            callback_id, error_type=error_type, error_message=error_message, error_data=error_data
        )
    _confirm(session, "callback failed")


@app.command()
@connected
def heartbeat(session: Session, callback_id: IdArgument) -> None:
    """Restart the heartbeat timeout of a callback."""
    with session.client() as client:
        client.heartbeat_callback(callback_id)
    _confirm(session, "heartbeat recorded")


def _confirm(session: Session, message: str) -> None:
    if session.for_programs:
        print_json({})
    else:
        stdout_console().print(message)
