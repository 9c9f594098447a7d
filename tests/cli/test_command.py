"""The command without a server: help, usage errors, no server at the address."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from perdure_cli import session
from perdure_cli.dev import watched_folders
from perdure_cli.exit_codes import MEANINGS
from perdure_cli.main import app
from perdure_proto.v1 import client_pb2, model_pb2
from tests.client.scripted_server import Script, event, serving, started, succeeded


def perdure(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "PERDURE_SERVER": ""})


def test_help_explains_every_exit_status() -> None:
    text = " ".join(perdure("--help").stdout.split())
    for code, meaning in MEANINGS.items():
        assert f"{code.value} {meaning}" in text


@pytest.mark.parametrize(
    "arguments",
    [
        *(["dev"], ["server"], ["migrate"], ["worker"], ["invoke"], ["functions", "list"]),
        *(["executions", each] for each in ("list", "get", "history", "stop", "pause", "resume")),
        *(["executions", "delete"], ["callbacks", "succeed"], ["callbacks", "fail"]),
        ["callbacks", "heartbeat"],
    ],
)
def test_every_command_has_help(arguments: list[str]) -> None:
    result = perdure(*arguments, "--help")
    assert (result.exit_code, "Usage: " in result.stdout) == (0, True)


@pytest.mark.parametrize("columns", ["40", "200"])
def test_help_cuts_no_name_of_an_option(columns: str) -> None:
    result = CliRunner().invoke(app, ["worker", "--help"], env={"COLUMNS": columns})
    for option in ("--functions", "--lambda-endpoint", "--metrics-port", "--allowed-host"):
        assert option in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= max(48, int(columns))


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"perdure \S.*\n", perdure("--version").stdout)


def test_a_missing_argument_is_a_usage_error() -> None:
    assert perdure("executions", "get").exit_code == 2


def test_a_payload_that_is_not_json_is_a_usage_error_before_anything_is_sent() -> None:
    result = perdure("invoke", "order", "--payload", "{id: 1}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "not JSON" in result.stderr


def test_an_absent_server_is_reported_without_a_stack_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "PATIENCE_S", 0.0)
    result = perdure("executions", "list", "--server", "127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "Is a server running at 127.0.0.1:1?" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_token_file_is_named() -> None:
    result = perdure("executions", "list", "--token-file", "/nowhere")
    assert result.exit_code == 2
    assert "cannot read the token file /nowhere" in result.stderr


def test_a_result_is_alone_on_stdout_and_its_arn_on_stderr() -> None:
    script = Script(
        answers=[started(model_pb2.Execution(execution_arn="arn:1")), succeeded('{"ok": true}')],
        streams=[[event(1, "ExecutionStarted"), event(2, "ExecutionSucceeded")]],
    )
    with serving(script) as server:
        result = perdure("invoke", "order", "--payload", "{}", "--server", server)
    assert (result.exit_code, result.stdout) == (0, '{"ok": true}\n')
    assert result.stderr == "arn:1\n"


def test_an_execution_that_failed_is_status_one_with_its_reason() -> None:
    failed = model_pb2.Execution(execution_arn="arn:1", status="FAILED")
    failed.error.error_type = "ValueError"
    failed.end_timestamp.FromSeconds(1)
    script = Script(answers=[started(failed), failed], streams=[[]])
    with serving(script) as server:
        result = perdure("invoke", "order", "--server", server)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "execution FAILED: ValueError" in result.stderr


def test_a_failed_execution_as_json_is_still_status_one() -> None:
    failed = model_pb2.Execution(execution_arn="arn:1", status="FAILED")
    failed.end_timestamp.FromSeconds(1)
    script = Script(answers=[started(failed), failed], streams=[[]])
    with serving(script) as server:
        result = perdure("invoke", "order", "--server", server, "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (1, "FAILED")


def paused_by_divergence() -> model_pb2.Execution:
    execution = model_pb2.Execution(execution_arn="arn:1", status="PAUSED")
    execution.pause_details.diverged = True
    execution.pause_details.reason = "replay differs from history: a\n  recorded: b"
    return execution


def test_an_execution_that_has_diverged_is_waited_for_no_longer() -> None:
    paused = model_pb2.Event(event_id=2, event_type="ExecutionPaused", diverged=True)
    script = Script(
        answers=[started(model_pb2.Execution(execution_arn="arn:1")), paused_by_divergence()],
        streams=[[event(1, "ExecutionStarted"), paused, event(3, "ExecutionSucceeded")]],
    )
    with serving(script) as server:
        result = perdure("invoke", "order", "--server", server)
    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr.splitlines() == [
        "arn:1",
        "error: execution PAUSED: a replay of its code diverged from its history",
        "a",
        "  recorded: b",
        "Mend the code, then: perdure executions resume 'arn:1'",
    ]


def test_one_that_was_resumed_since_is_waited_for() -> None:
    paused = model_pb2.Event(event_id=2, event_type="ExecutionPaused", diverged=True)
    script = Script(
        answers=[
            started(model_pb2.Execution(execution_arn="arn:1")),
            model_pb2.Execution(execution_arn="arn:1", status="RUNNING"),
            succeeded("1"),
        ],
        streams=[[event(1, "ExecutionStarted"), paused, event(3, "ExecutionSucceeded")]],
    )
    with serving(script) as server:
        result = perdure("invoke", "order", "--server", server)
    assert (result.exit_code, result.stdout) == (0, "1\n")


def test_detached_the_arn_is_all_that_is_printed() -> None:
    script = Script(answers=[started(model_pb2.Execution(execution_arn="arn:1"))])
    with serving(script) as server:
        result = perdure("invoke", "order", "--detach", "--server", server)
    assert (result.exit_code, result.stdout) == (0, "arn:1\n")


def test_a_trace_header_is_sent_with_the_start() -> None:
    script = Script(answers=[started(model_pb2.Execution(execution_arn="arn:1"))])
    with serving(script) as server:
        perdure("invoke", "order", "-d", "--trace-header", "Root=1-a", "--server", server)
    (request,) = script.requests
    assert isinstance(request, client_pb2.StartExecutionRequest)
    assert request.trace_header == "Root=1-a"


def test_a_list_as_json_is_a_list() -> None:
    page = client_pb2.ListExecutionsResponse(
        executions=[model_pb2.ExecutionSummary(execution_arn="arn:1", status="RUNNING")]
    )
    with serving(Script(answers=[page])) as server:
        result = perdure("executions", "list", "--server", server, "-o", "json")
    assert [each["status"] for each in json.loads(result.stdout)] == ["RUNNING"]


def test_a_list_asks_for_each_filter_and_goes_on_behind_an_empty_page() -> None:
    pages = [
        client_pb2.ListExecutionsResponse(next_marker="further"),
        client_pb2.ListExecutionsResponse(
            executions=[model_pb2.ExecutionSummary(execution_arn="arn:1", status="FAILED")]
        ),
    ]
    script = Script(answers=[*pages])
    with serving(script) as server:
        filters = ("--name-prefix", "order-", "--status", "failed", "--oldest-first")
        result = perdure("executions", "list", *filters, "--server", server, "-o", "json")
    assert [each["status"] for each in json.loads(result.stdout)] == ["FAILED"]
    first, second = (
        each for each in script.requests if isinstance(each, client_pb2.ListExecutionsRequest)
    )
    assert (first.execution_name_prefix, first.reverse_order) == ("order-", True)
    assert list(first.statuses) == ["FAILED"]
    assert second.marker == "further"


def test_what_is_quarantined_is_listed_with_its_reason() -> None:
    page = client_pb2.ListQuarantinedResponse(
        items=[
            client_pb2.QuarantinedItem(kind="function", place="'default' 'f'", reason="no text"),
            client_pb2.QuarantinedItem(kind="execution", execution_arn="arn:1", reason="cut"),
        ]
    )
    with serving(Script(answers=[page, page])) as server:
        printed = perdure("executions", "quarantined", "--server", server).stdout
        listed = perdure("executions", "quarantined", "--server", server, "-o", "json").stdout
    for part in ("'default' 'f'", "no text", "arn:1", "cut"):
        assert part in printed
    assert [each["kind"] for each in json.loads(listed)] == ["function", "execution"]


def test_a_raw_export_holds_the_rows_as_they_are_stored() -> None:
    columns = [
        client_pb2.StoredColumn(name="bucket", integer=7),
        client_pb2.StoredColumn(name="body", raw=b"\xc1"),
        client_pb2.StoredColumn(name="ended_ms"),
        client_pb2.StoredColumn(name="name", text="n"),
    ]
    row = client_pb2.StoredRow(table="events", columns=columns)
    pages = [
        client_pb2.ListStoredRowsResponse(rows=[row], next_marker="further"),
        client_pb2.ListStoredRowsResponse(),
    ]
    with serving(Script(answers=[*pages])) as server:
        result = perdure("executions", "export", "--raw", "arn:1", "--server", server)
    assert json.loads(result.stdout) == {
        "format": "perdure-stored-rows",
        "version": 1,
        "execution_arn": "arn:1",
        "rows": [
            {
                "table": "events",
                "columns": {
                    "bucket": 7,
                    "body": {"base64": "wQ=="},
                    "ended_ms": None,
                    "name": "n",
                },
            }
        ],
    }


def test_a_followed_history_as_json_is_a_list_of_events() -> None:
    script = Script(streams=[[event(1, "ExecutionStarted"), event(2, "ExecutionSucceeded")]])
    with serving(script) as server:
        result = perdure("executions", "history", "arn:1", "-f", "-o", "json", "--server", server)
    types = [each["event_type"] for each in json.loads(result.stdout)]
    assert types == ["ExecutionStarted", "ExecutionSucceeded"]


@pytest.mark.parametrize("qualifier", ["$LATEST", ""])
def test_an_arn_without_quotes_is_understood(qualifier: str) -> None:
    arn = "arn:perdure:lambda:default:000000000000:function:f:{}/durable-execution/n/i"
    script = Script(answers=[model_pb2.Execution(execution_arn="arn:1", status="RUNNING")])
    with serving(script) as server:
        result = perdure("executions", "get", arn.format(qualifier), "--server", server)
    assert result.exit_code == 0
    assert getattr(script.requests[0], "execution_arn", "") == arn.format("$LATEST")


def test_the_folder_of_each_module_is_watched_once(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    modules = ["orders.py", str(here / "deep" / "a.py"), str(elsewhere / "b.py"), "no.such.module"]
    assert watched_folders(modules, here) == [here, elsewhere]
