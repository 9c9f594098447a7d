"""`perdure executions export`: an execution's history as one JSON document, to test new code with.

`perdure.testing.replay` reads it: see docs/testing.md.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.client import Client
from perdure_cli.executions import ArnArgument
from perdure_cli.output import print_json, print_status
from perdure_cli.session import Session, connected

FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="Write to this file instead of standard output."),
]


@connected
def export(session: Session, arn: ArnArgument, file: FileOption = None) -> None:
    """Write the whole history of an execution as JSON, for `perdure.testing.replay`."""
    with session.client() as client:
        document = history_document(client, arn)
    if file is None:
        print_json(document)
        return
    try:
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        problem = f"cannot write {file}: {error.strerror}"
        raise typer.BadParameter(problem, param_hint="--file") from None
    print_status(f"{len(document['events'])} events in {file}")


def history_document(client: Client, arn: str) -> dict[str, Any]:
    """Return the document: the execution's ARN, function and status, and its events."""
    from perdure.testing.history import FORMAT, VERSION

    # The status is read first: it must not be newer than the events.
    execution = client.get(arn)
    return {
        "format": FORMAT,
        "version": VERSION,
        "execution_arn": execution.execution_arn,
        "function_name": execution.function_name,
        "status": execution.status,
        "events": [event.to_json() for event in client.history(arn)],
    }
