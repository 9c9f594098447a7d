"""Tables and details of executions and functions, as text for people.

ARNs and callback ids are never wrapped or cut, because people copy them.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perdure.client.models import (
    ExecutionDescription,
    ExecutionSummary,
    FunctionDescription,
    OpenCallback,
    QuarantinedItem,
)
from perdure.primitives.timeline import format_duration
from perdure_cli.divergences import difference, has_diverged, how_to_go_on
from perdure_cli.timelines import format_error, stack_lines

_PAYLOAD_CHARS_MAX: Final = 4_000
# The longest status without a mark.
_STATUS_CHARS: Final = 9

_STATUS_STYLES: Final = {
    "RUNNING": "cyan",
    "PAUSING": "yellow",
    "PAUSED": "yellow",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "STOPPED": "red",
    "DELETING": "dim",
}


def format_status(status: str) -> Text:
    """Return a status in its colour."""
    return Text(status, style=_STATUS_STYLES.get(status, "default"))


def format_time(at: datetime) -> str:
    """Return a point in time in the local zone, to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def show_execution(console: Console, execution: ExecutionDescription) -> None:
    """Print everything about an execution except its history."""
    for label, value in _facts(execution):
        line = Text(f"{label:<10} ", style="dim")
        line.append_text(value if isinstance(value, Text) else Text(value, style="default"))
        console.print(line, soft_wrap=True)
    for line in stack_lines(execution.error):
        console.print(line, soft_wrap=True)
    if has_diverged(execution):
        _show_divergence(console, execution)
    for callback in execution.open_callbacks:
        _show_callback(console, callback)
    more = execution.open_callback_count - len(execution.open_callbacks)
    if more > 0:
        console.print(Text(f"callback   … and {more:,} more: perdure executions callbacks"))
    for label, payload in (("input", execution.input_text), ("result", execution.result_text)):
        if payload is not None:
            console.print(Text(label, style="dim"))
            console.print(Text(format_payload(payload)), soft_wrap=True)


def show_executions(console: Console, executions: Sequence[ExecutionSummary]) -> None:
    """Print a table of executions; each ARN has a line of its own, so that it can be copied."""
    if not executions:
        console.print(Text("no executions", style="dim"))
        return
    statuses = max(_STATUS_CHARS, *(len(_marked(each)) for each in executions))
    names = max(len("NAME"), *(len(each.execution_name) for each in executions))
    functions = max(len("FUNCTION"), *(len(each.function_name) for each in executions))
    header = (
        f"{'STATUS':<{statuses}}  {'NAME':<{names}}  {'FUNCTION':<{functions}}"
        f"  {'STARTED':<19}  TOOK"
    )
    wide = console.width >= len(header)
    if wide:
        console.print(Text(header, style="bold"), soft_wrap=True)
    for each in executions:
        if not wide:
            _show_narrow(console, each)
            continue
        line = Text.assemble(
            (f"{_marked(each):<{statuses}}", _STATUS_STYLES.get(each.status, "default")),
            f"  {each.execution_name:<{names}}  {each.function_name:<{functions}}"
            f"  {format_time(each.started_at)}  {_took(each)}",
        )
        console.print(line, soft_wrap=True)
        console.print(Text(each.execution_arn, style="dim"), soft_wrap=True)


def _show_narrow(console: Console, execution: ExecutionSummary) -> None:
    """Print an execution where its columns do not fit."""
    style = _STATUS_STYLES.get(execution.status, "default")
    head = Text.assemble((_marked(execution), style), f"  {execution.execution_name}")
    console.print(head, soft_wrap=True)
    facts = (execution.function_name, format_time(execution.started_at), _took(execution))
    for line in ("  ".join(facts[:1]), "  ".join(facts[1:])):
        console.print(Text(f"  {line}"), soft_wrap=True)
    console.print(Text(execution.execution_arn, style="dim"), soft_wrap=True)


def show_callbacks(console: Console, callbacks: Sequence[OpenCallback]) -> None:
    """Print open callbacks with their ids."""
    if not callbacks:
        console.print(Text("no open callbacks", style="dim"))
    for callback in callbacks:
        _show_callback(console, callback)


def show_quarantined(console: Console, items: Sequence[QuarantinedItem]) -> None:
    """Print what cannot be read; each has two lines, the second with the reason."""
    if not items:
        console.print(Text("nothing is quarantined", style="dim"))
    for each in items:
        where = each.execution_arn or each.place
        line = f"{format_time(each.quarantined_at)}  {each.kind:<12}  {where}"
        console.print(Text(line), soft_wrap=True)
        console.print(Text(f"  {each.reason}", style="red"), soft_wrap=True)


def show_functions(console: Console, functions: Sequence[FunctionDescription]) -> None:
    """Print a table of functions."""
    if not functions:
        console.print(Text("no worker has registered a function yet", style="dim"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("FUNCTION", "KIND", "WORKERS", "TIMEOUT", "RETENTION"):
        table.add_column(column, no_wrap=True)
    for each in functions:
        table.add_row(*_function_cells(each))
    if (
        table.__rich_measure__(console, console.options.update(width=1_000)).minimum
        <= console.width
    ):
        console.print(table)
        return
    for each in functions:
        name, kind, workers, timeout, retention = _function_cells(each)
        console.print(name, soft_wrap=True)
        console.print(Text.assemble("  ", kind, ", workers: ", workers), soft_wrap=True)
        rest = Text.assemble("  timeout ", timeout, ", retention ", retention)
        console.print(rest, soft_wrap=True)


def _function_cells(each: FunctionDescription) -> tuple[Text, Text, Text, Text, Text]:
    return (
        Text(each.function_name),
        Text("durable" if each.durable else "plain"),
        Text(str(each.workers_connected), style="green" if each.workers_connected else "red"),
        Text(format_duration(timedelta(seconds=each.execution_timeout_s))),
        Text(f"{each.retention_days} d"),
    )


def format_payload(text: str) -> str:
    """Return a payload, indented if it is JSON and cut if it is long."""
    try:
        indented = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        indented = text
    if len(indented) <= _PAYLOAD_CHARS_MAX:
        return indented
    beginning = indented[:_PAYLOAD_CHARS_MAX]
    return f"{beginning}… ({len(text)} characters; all of it with --output json)"


def _facts(execution: ExecutionDescription) -> list[tuple[str, str | Text]]:
    facts: list[tuple[str, str | Text]] = [
        ("status", format_status(execution.status)),
        ("arn", execution.execution_arn),
        ("function", execution.function_name),
        ("name", execution.execution_name),
        ("started", format_time(execution.started_at)),
    ]
    if execution.quarantine_reason is not None:
        since = "" if execution.quarantined_at is None else format_time(execution.quarantined_at)
        reason = f"since {since}: {execution.quarantine_reason}"
        return [*facts, ("quarantined", Text(reason, style="red"))]
    if execution.ended_at is not None:
        took = format_duration(execution.ended_at - execution.started_at)
        facts.append(("ended", f"{format_time(execution.ended_at)}, after {took}"))
    else:
        facts.extend(_open_facts(execution))
    facts.append(("events", str(execution.event_count)))
    facts.extend(_pause_facts(execution))
    if execution.error is not None:
        facts.append(("error", Text(format_error(execution.error), style="red")))
    return facts


def _open_facts(execution: ExecutionDescription) -> list[tuple[str, str | Text]]:
    facts: list[tuple[str, str | Text]] = [("waits for", execution.waiting_for)]
    if execution.next_timer_at is not None and execution.next_timer_at != execution.deadline_at:
        facts.append(("wakes", format_time(execution.next_timer_at)))
    if execution.deadline_at is not None:
        facts.append(("deadline", format_time(execution.deadline_at)))
    count = execution.consecutive_invocation_failures
    if count and not has_diverged(execution):
        failures = f"{count} invocation{'' if count == 1 else 's'} failed in a row"
        facts.append(("failures", Text(failures, style="red")))
    return facts


def _pause_facts(execution: ExecutionDescription) -> list[tuple[str, str | Text]]:
    pause = execution.pause
    if pause is None:
        return []
    reason = f": {pause.reason}" if pause.reason else ""
    if pause.diverged:
        reason = ", because a replay of the code diverged from the history:"
    return [("paused", f"since {format_time(pause.requested_at)}{reason}")]


def _show_divergence(console: Console, execution: ExecutionDescription) -> None:
    for line in difference(execution):
        console.print(Text(f"  {line}", style="yellow"), soft_wrap=True)
    console.print(Text(f"  {how_to_go_on(execution)}", style="dim"), soft_wrap=True)


def _show_callback(console: Console, callback: OpenCallback) -> None:
    name = callback.name or callback.operation_id[:8]
    due = f", due {format_time(callback.due_at)}" if callback.due_at else ""
    console.print(Text.assemble(("callback   ", "dim"), f"{name}{due}"), soft_wrap=True)
    console.print(Text(callback.callback_id, style="cyan"), soft_wrap=True)


def _marked(summary: ExecutionSummary) -> str:
    """Return the status, marked if the execution is quarantined or was paused by divergence."""
    if summary.quarantine_reason is not None:
        return f"{summary.status} (quarantined)"
    return f"{summary.status} (diverged)" if summary.diverged else summary.status


def _took(summary: ExecutionSummary) -> str:
    if summary.ended_at is None:
        return "–"
    return format_duration(summary.ended_at - summary.started_at)
