"""What a terminal shows: no more than it can hold, and nothing that others wrote drives it."""

import io
import json
import logging
import sys

import pytest
import structlog
from rich.console import Console
from typer.testing import CliRunner, Result

from perdure_cli import invoke, output
from perdure_cli.main import app
from perdure_host import terminal_text
from perdure_host.telemetry import configure_logging
from perdure_proto.v1 import client_pb2, model_pb2
from tests.client.scripted_server import Script, event, serving, started, succeeded

HOSTILE = "a\x1b]0;title\x07\x9b31m\u202eb\rc"
SHOWN = r"a\x1b]0;title\x07\x9b31m\u202eb\rc".replace(r"\r", r"\x0d")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def perdure(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **environment})


def test_line_breaks_and_letters_of_all_scripts_stay() -> None:
    assert terminal_text.visible("zwei\n\tätsch עברית 中 👍🏽") == "zwei\n\tätsch עברית 中 👍🏽"
    assert terminal_text.visible(HOSTILE) == SHOWN


def test_json_has_the_same_value_and_drives_nothing() -> None:
    text = terminal_text.escaped_json(json.dumps({HOSTILE: [HOSTILE]}, ensure_ascii=False))
    assert json.loads(text) == {HOSTILE: [HOSTILE]}
    assert text == terminal_text.visible(text)


def test_names_errors_and_statuses_of_others_are_shown_as_escapes() -> None:
    execution = model_pb2.Execution(
        execution_arn="arn:1", status="FAILED", execution_name=HOSTILE, input=HOSTILE
    )
    execution.error.error_type = execution.error.error_message = HOSTILE
    execution.end_timestamp.FromSeconds(1)
    page = client_pb2.ListExecutionsResponse(
        executions=[model_pb2.ExecutionSummary(execution_name=HOSTILE, status="RUNNING")]
    )
    strange = event(1, "StepStarted")
    strange.name = HOSTILE
    for arguments, script in (
        (["executions", "get", "arn:1"], Script(answers=[execution])),
        (["executions", "list"], Script(answers=[page])),
        (["executions", "history", "arn:1", "-f"], Script(streams=[[strange]])),
        (["invoke", "f"], Script(answers=[started(execution), execution], streams=[[]])),
    ):
        with serving(script) as server:
            result = perdure(*arguments, "--server", server)
        printed = result.stdout + result.stderr
        assert "]0;title" in printed
        assert terminal_text.visible(printed) == printed


def test_a_result_goes_to_a_terminal_as_escapes_and_to_a_file_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for stream, written in ((Terminal(), SHOWN), (io.StringIO(), HOSTILE)):
        monkeypatch.setattr(sys, "stdout", stream)
        output.print_text(HOSTILE)
        assert stream.getvalue() == f"{written}\n"


def test_log_lines_of_users_are_shown_as_escapes() -> None:
    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("text", stream=stream)
    try:
        logging.getLogger("order").warning(HOSTILE, extra={"customer": HOSTILE})
    finally:
        root.handlers, root.level = before
        structlog.reset_defaults()
    line = stream.getvalue()
    assert line.count("]0;title") == 2
    assert terminal_text.visible(line) == line


def invoked(monkeypatch: pytest.MonkeyPatch, events: int, *, terminal: bool) -> Result:
    script = Script(
        answers=[started(model_pb2.Execution(execution_arn="arn:1")), succeeded("1")],
        streams=[[event(number, "StepStarted") for number in range(1, events + 1)]],
    )
    console = output.stderr_console

    def of_kind() -> Console:
        made = console()
        monkeypatch.setattr(type(made), "is_terminal", terminal)
        return made

    monkeypatch.setattr(invoke, "stderr_console", of_kind)
    with serving(script) as server:
        return perdure("invoke", "order", "--server", server, NO_COLOR="1")


def test_a_timeline_is_drawn_on_a_terminal_and_has_forty_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = invoked(monkeypatch, 40, terminal=True).stderr.splitlines()
    assert len([line for line in whole if "StepStarted" in line]) == 40
    cut = invoked(monkeypatch, 1_000, terminal=True)
    lines = [line for line in cut.stderr.splitlines() if "StepStarted" in line or "…" in line]
    assert len(lines) == invoke.TIMELINE_LINES_MAX
    assert "… 961 events more: perdure executions history 'arn:1'" in lines[-1]
    assert cut.stdout == "1\n"


def test_elsewhere_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoked(monkeypatch, 3, terminal=False)
    assert (result.stdout, "StepStarted" in result.stderr) == ("1\n", False)


@pytest.mark.parametrize("columns", ["40", "200"])
def test_without_colours_nothing_is_coloured(columns: str) -> None:
    page = client_pb2.ListExecutionsResponse(
        executions=[model_pb2.ExecutionSummary(execution_arn="arn:1", status="FAILED")]
    )
    with serving(Script(answers=[page])) as server:
        result = perdure(
            *("executions", "list", "--server", server),
            NO_COLOR="1",
            FORCE_COLOR="1",
            COLUMNS=columns,
        )
    assert "FAILED" in result.stdout
    assert "\x1b[3" not in result.stdout
