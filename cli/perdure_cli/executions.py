"""`perdure executions …`: list, inspect and control executions."""

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Final

import typer

from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_error, print_json, stdout_console
from perdure_cli.session import Session, connected
from perdure_cli.tables import (
    format_status,
    format_time,
    show_callbacks,
    show_execution,
    show_executions,
    show_quarantined,
)
from perdure_cli.timelines import Timeline, stack_lines

LIMIT_DEFAULT: Final = 50

app = typer.Typer(no_args_is_help=True, help="List, inspect and control executions.")


def read_arn(argument: str) -> str:
    """Return an ARN, with the `$LATEST` that a shell removes from one without quotes."""
    return argument.replace(":/durable-execution/", ":$LATEST/durable-execution/")


ArnArgument = Annotated[
    str, typer.Argument(metavar="ARN", help="The execution's ARN.", parser=read_arn)
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="Shown to people who look at the execution.")
]
StartedOption = Annotated[datetime | None, typer.Option(metavar="TIME", help="ISO 8601, UTC.")]


@app.command("list")
@connected
def list_executions(  # noqa: PLR0913, PLR0917 - one parameter for each option
    session: Session,
    function: Annotated[
        str | None, typer.Option("--function", help="Only of this function.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only with exactly this name.")] = None,
    name_prefix: Annotated[
        str | None, typer.Option("--name-prefix", help="Only with a name that begins so.")
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help="RUNNING, SUCCEEDED, …; may be repeated."),
    ] = None,
    started_after: StartedOption = None,
    started_before: StartedOption = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="Reverse the order.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Maximum number of executions.")
    ] = LIMIT_DEFAULT,
) -> None:
    """List executions that match all filters, newest first."""
    with session.client() as client:
        found = client.list_executions(
            function_name=function,
            name=name,
            name_prefix=name_prefix,
            statuses=[each.upper() for each in status or ()],
            started_after=_utc(started_after),
            started_before=_utc(started_before),
            oldest_first=oldest_first,
            page_items=min(limit, 1_000),
        )
        executions = list(islice(found, limit))
    if session.for_programs:
        print_json([each.to_json() for each in executions])
    else:
        show_executions(stdout_console(), executions)


@app.command()
@connected
def get(session: Session, arn: ArnArgument) -> None:
    """Show one execution: status, open callbacks, input, result."""
    with session.client() as client:
        execution = client.get(arn)
    if session.for_programs:
        print_json(execution.to_json())
    else:
        show_execution(stdout_console(), execution)


@app.command()
@connected
def callbacks(
    session: Session,
    arn: ArnArgument,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Maximum number of callbacks.")
    ] = LIMIT_DEFAULT,
) -> None:
    """List the open callbacks of an execution, oldest first."""
    with session.client() as client:
        found = client.list_open_callbacks(arn, page_items=min(limit, 1_000))
        open_callbacks = list(islice(found, limit))
    if session.for_programs:
        print_json([each.to_json() for each in open_callbacks])
    else:
        show_callbacks(stdout_console(), open_callbacks)


@app.command()
@connected
def history(
    session: Session,
    arn: ArnArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show new events as they happen, until the end.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Maximum number of seconds to follow.")
    ] = None,
) -> None:
    """Show the timeline of an execution."""
    with session.client() as client:
        events = client.follow(arn, timeout_s=timeout) if follow else client.history(arn)
        if session.for_programs:
            print_json([event.to_json() for event in events])
            return
        console = stdout_console()
        timeline = Timeline(console.width)
        for event in events:
            console.print(timeline.draw(event), soft_wrap=True)
            for line in stack_lines(event.error, indent=timeline.stack_indent):
                console.print(line, soft_wrap=True)


@app.command()
@connected
def quarantined(
    session: Session,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Maximum number of items.")
    ] = LIMIT_DEFAULT,
) -> None:
    """List what cannot be read: executions, and rows that belong to none, oldest first."""
    with session.client() as client:
        items = list(islice(client.list_quarantined(page_items=min(limit, 1_000)), limit))
    if session.for_programs:
        print_json([each.to_json() for each in items])
    else:
        show_quarantined(stdout_console(), items)


@app.command()
@connected
def stop(
    session: Session,
    arn: ArnArgument,
    error_type: Annotated[
        str | None, typer.Option("--error-type", help="The type of the recorded error.")
    ] = None,
    error_message: Annotated[
        str | None, typer.Option("--error-message", help="The message of the recorded error.")
    ] = None,
) -> None:
    """Stop an execution at once; its status becomes STOPPED.

    One that had ended already stays as it is, and the exit status is 4.
    """
    with session.client() as client:
        before = client.get(arn, include_data=False)
        stopped_at = client.stop(arn, error_type=error_type, error_message=error_message)
        after = before if before.ended else client.get(arn, include_data=False)
    if session.for_programs:
        print_json({"stop_timestamp": _json_time(stopped_at)})
    if before.ended or after.status != "STOPPED":
        print_error(f"the execution had ended already, {after.status} at {format_time(stopped_at)}")
        raise typer.Exit(ExitCode.CONFLICT)
    if not session.for_programs:
        stdout_console().print(f"stopped {format_time(stopped_at)}")


@app.command()
@connected
def pause(
    session: Session,
    arn: ArnArgument,
    reason: ReasonOption = None,
    deadline_runs_on: Annotated[
        bool,
        typer.Option("--deadline-runs-on", help="Do not move the deadline by the pause's length."),
    ] = False,
) -> None:
    """Start no more invocations until `resume`; timers and callbacks go on."""
    with session.client() as client:
        status = client.pause(arn, reason=reason, execution_timeout_paused=not deadline_runs_on)
    _show_status(session, status)


@app.command()
@connected
def resume(session: Session, arn: ArnArgument, reason: ReasonOption = None) -> None:
    """End the pause of an execution, or read one again that is quarantined."""
    with session.client() as client:
        status = client.resume(arn, reason=reason)
    _show_status(session, status)


@app.command()
@connected
def delete(session: Session, arn: ArnArgument) -> None:
    """Delete an execution that has ended or is quarantined, with its history."""
    with session.client() as client:
        deleted_at = client.delete(arn)
    if session.for_programs:
        print_json({"deletion_request_timestamp": _json_time(deleted_at)})
    else:
        stdout_console().print(f"deleted {format_time(deleted_at)}")


def _show_status(session: Session, status: str) -> None:
    if session.for_programs:
        print_json({"status": status})
    else:
        stdout_console().print(format_status(status))


def _utc(at: datetime | None) -> datetime | None:
    if at is None or at.tzinfo is not None:
        return at
    return at.replace(tzinfo=UTC)


def _json_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
