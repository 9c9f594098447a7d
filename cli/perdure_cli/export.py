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


RawOption = Annotated[
    bool,
    typer.Option("--raw", help="Write the rows as they are stored, also of one in quarantine."),
]


@connected
def export(
    session: Session, arn: ArnArgument, file: FileOption = None, raw: RawOption = False
) -> None:
    """Write the whole history of an execution as JSON, for `perdure.testing.replay`."""
    with session.client() as client:
        document = stored_rows(client, arn) if raw else history_document(client, arn)
    if file is None:
        print_json(document)
        return
    try:
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        problem = f"cannot write {file}: {error.strerror}"
        raise typer.BadParameter(problem, param_hint="--file") from None
    what = "rows" if raw else "events"
    print_status(f"{len(document[what])} {what} in {file}")


def stored_rows(client: Client, arn: str) -> dict[str, Any]:
    """Return the document of the rows as they are stored, which docs/operating.md describes."""
    return {
        "format": "perdure-stored-rows",
        "version": 1,
        "execution_arn": arn,
        "rows": [row.to_json() for row in client.list_stored_rows(arn)],
    }


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
