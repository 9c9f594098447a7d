"""`perdure invoke`: start an execution, show its steps as they happen, print its result.

Must stay true: the result is alone on stdout; everything else goes to stderr.
"""

from typing import Annotated, Final

import typer
from rich.text import Text

from perdure.client import Client
from perdure.client.errors import WaitTimeoutError
from perdure.client.models import ExecutionDescription, StartedExecution
from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_error, print_json, print_status, print_text, stderr_console
from perdure_cli.payloads import read_payload
from perdure_cli.session import Session, connected
from perdure_cli.timelines import Timeline, format_error

# The last event has arrived, so the result is there; a server that restarts now gets this long.
_RESULT_WAIT_S_MAX: Final = 60.0


@connected
def invoke(
    session: Session,
    function: Annotated[str, typer.Argument(metavar="NAME", help="The function to run.")],
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON|@FILE|-", help="The handler's event.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="The execution's name; a second start with the same name starts nothing."
        ),
    ] = None,
    tenant_id: Annotated[
        str | None,
        typer.Option("--tenant-id", help="The tenant, for a function with tenant isolation."),
    ] = None,
    trace_header: Annotated[
        str | None,
        typer.Option("--trace-header", help="The trace it belongs to (X-Amzn-Trace-Id)."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print the ARN and exit without waiting.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Maximum number of seconds to wait.")
    ] = None,
) -> None:
    """Start an execution and wait for its result."""
    text = read_payload(payload, "--payload")
    with session.client() as client:
        started = client.start(
            function,
            payload_text=text,
            name=name,
            tenant_id=tenant_id,
            trace_header=trace_header,
        )
        if detach:
            _print_started(session, started)
            return
        execution = _wait(client, started, timeout)
    if session.for_programs:
        print_json(execution.to_json())
    elif execution.status == "SUCCEEDED":
        print_text(execution.result_text or "null")
    if execution.status != "SUCCEEDED":
        _print_failure(execution)
        raise typer.Exit(ExitCode.EXECUTION_FAILED)


def _wait(
    client: Client, started: StartedExecution, timeout_s: float | None
) -> ExecutionDescription:
    """Print each event until the end, even if the server restarts, and return the execution."""
    arn = started.execution_arn
    print_status(Text(arn if started.started else f"{arn} (it was started before)", style="dim"))
    timeline = Timeline()
    console = stderr_console()
    try:
        for event in client.follow(arn, timeout_s=timeout_s):
            console.print(timeline.draw(event), soft_wrap=True)
    except (WaitTimeoutError, KeyboardInterrupt):
        hint = f"the execution goes on: perdure executions history --follow '{arn}'"
        print_status(Text(hint, style="dim"))
        raise
    return client.wait(arn, timeout_s=timeout_s or _RESULT_WAIT_S_MAX)


def _print_started(session: Session, started: StartedExecution) -> None:
    if session.for_programs:
        print_json(started.execution.to_json())
    else:
        print_text(started.execution_arn)


def _print_failure(execution: ExecutionDescription) -> None:
    reason = "" if execution.error is None else f": {format_error(execution.error)}"
    print_error(f"execution {execution.status}{reason}")
    if execution.error is not None:
        for line in execution.error.stack_trace:
            print_status(Text(line.rstrip(), style="dim"))
