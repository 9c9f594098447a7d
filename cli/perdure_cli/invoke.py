"""`perdure invoke`: start an execution, show its steps as they happen, print its result.

Must stay true: the result is alone on stdout; everything else goes to stderr. The timeline is for
people who watch: it is drawn on a terminal only, and no longer than TIMELINE_LINES_MAX.
"""

from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.text import Text

from perdure.client import Client
from perdure.client.errors import WaitTimeoutError
from perdure.client.models import ExecutionDescription, HistoryEvent, StartedExecution
from perdure_cli.divergences import difference, has_diverged, how_to_go_on
from perdure_cli.exit_codes import ExitCode
from perdure_cli.output import print_error, print_json, print_status, print_text, stderr_console
from perdure_cli.payloads import read_payload
from perdure_cli.session import Session, connected
from perdure_cli.timelines import Timeline, format_error

# The last event has arrived, so the result is there; a server that restarts now gets this long.
_RESULT_WAIT_S_MAX: Final = 60.0
# As many as a terminal shows at once; `perdure executions history` shows all.
TIMELINE_LINES_MAX: Final = 40


@connected
def invoke(  # noqa: PLR0913, PLR0917 - one parameter for each option
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
    accept_unknown: Annotated[
        bool,
        typer.Option(
            "--accept-unknown", help="Start it before any worker has registered the function."
        ),
    ] = False,
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
            accept_unknown=accept_unknown,
        )
        if detach:
            _print_started(session, started)
            return
        execution = _wait(client, started, timeout)
    if session.for_programs:
        print_json(execution.to_json())
    elif execution.status == "SUCCEEDED":
        print_text(execution.result_text or "null")
    if has_diverged(execution):
        _print_divergence(execution)
        raise typer.Exit(ExitCode.DIVERGED)
    if execution.status != "SUCCEEDED":
        _print_failure(execution)
        raise typer.Exit(ExitCode.EXECUTION_FAILED)


def _wait(
    client: Client, started: StartedExecution, timeout_s: float | None
) -> ExecutionDescription:
    """Return the execution once it has ended or diverged, even if the server restarts meanwhile."""
    arn = started.execution_arn
    try:
        started_before = "" if started.started else " (it was started before)"
        print_status(Text(f"{arn}{started_before}", style="dim"))
        if stderr_console().is_terminal:
            timeline = _ShortTimeline(arn)
            diverged = _follow(client, arn, timeout_s, timeline.show)
            timeline.end()
        else:
            diverged = _follow(client, arn, timeout_s)
    except (WaitTimeoutError, KeyboardInterrupt):
        hint = f"the execution goes on: perdure executions history --follow '{arn}'"
        print_status(Text(hint, style="dim"))
        raise
    return diverged or client.wait(arn, timeout_s=timeout_s or _RESULT_WAIT_S_MAX)


def _follow(
    client: Client,
    arn: str,
    timeout_s: float | None,
    show: Callable[[HistoryEvent], None] | None = None,
) -> ExecutionDescription | None:
    """Show the events until the end; return the execution at once if it has diverged."""
    for event in client.follow(arn, timeout_s=timeout_s):
        if show is not None:
            show(event)
        if event.wire.diverged:
            execution = client.get(arn)
            if has_diverged(execution):  # it may have been resumed since
                return execution
    return None


class _ShortTimeline:
    """Prints the first events, and how many follow."""

    def __init__(self, arn: str) -> None:
        self._arn = arn
        self._console = stderr_console()
        self._timeline = Timeline(self._console.width)
        self._events = 0
        self._last = Text()

    def show(self, event: HistoryEvent) -> None:
        """Print the line of the next event, if there is room."""
        self._events += 1
        self._last = self._timeline.draw(event)
        if self._events < TIMELINE_LINES_MAX:
            self._console.print(self._last, soft_wrap=True)

    def end(self) -> None:
        """Print what fills the last line."""
        if self._events == TIMELINE_LINES_MAX:
            self._console.print(self._last, soft_wrap=True)
        elif self._events > TIMELINE_LINES_MAX:
            left_out = self._events - TIMELINE_LINES_MAX + 1
            hint = f"… {left_out:,} events more: perdure executions history '{self._arn}'"
            print_status(Text(hint, style="dim"))


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


def _print_divergence(execution: ExecutionDescription) -> None:
    print_error("execution PAUSED: a replay of its code diverged from its history")
    for line in difference(execution):
        print_status(line)
    print_status(Text(how_to_go_on(execution), style="dim"))
