"""Tables of executions and functions, as the command prints them."""

import io
from datetime import UTC, datetime

from rich.console import Console

from perdure.client.models import read_execution, read_function, read_summary
from perdure_cli.tables import (
    format_payload,
    show_execution,
    show_executions,
    show_functions,
)
from perdure_proto.v1 import client_pb2, model_pb2

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ARN = (
    "arn:perdure:lambda:default:000000000000:function:lambda_handler:$LATEST"
    "/durable-execution/order-17/0b7c2f9e-59a3-4a47-9d0e-6a1c3b1f2d11"
)


def a_narrow_console() -> Console:
    return Console(file=io.StringIO(), width=40, highlight=False)


def output_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_arn_is_never_wrapped_so_that_it_can_be_copied() -> None:
    summary = model_pb2.ExecutionSummary(execution_arn=ARN, execution_name="o", status="RUNNING")
    console = a_narrow_console()
    show_executions(console, [read_summary(summary)])
    assert ARN in output_of(console).splitlines()


def test_a_list_marks_a_diverged_pause() -> None:
    asked = model_pb2.ExecutionSummary(execution_arn=ARN, execution_name="o-1", status="PAUSED")
    diverged = model_pb2.ExecutionSummary(
        execution_arn=ARN, execution_name="o-2", status="PAUSED", diverged=True
    )
    console = Console(file=io.StringIO(), width=120)
    show_executions(console, [read_summary(asked), read_summary(diverged)])
    header, first, _, second, _ = output_of(console).splitlines()
    assert first.split()[:2] == ["PAUSED", "o-1"]
    assert second.split()[:3] == ["PAUSED", "(diverged)", "o-2"]
    assert header.index("NAME") == first.index("o-1") == second.index("o-2")


def test_a_callback_id_is_never_wrapped_so_that_it_can_be_copied() -> None:
    execution = model_pb2.Execution(execution_arn=ARN, status="RUNNING")
    execution.open_callbacks.add(callback_id="Y" * 300, operation_id="op", name="awaiting")
    console = a_narrow_console()
    show_execution(console, read_execution(execution))
    assert "Y" * 300 in output_of(console).splitlines()


def test_callbacks_that_are_not_shown_are_counted() -> None:
    execution = model_pb2.Execution(execution_arn=ARN, status="RUNNING", open_callback_count=60_000)
    execution.open_callbacks.add(callback_id="id", operation_id="op", name="awaiting")
    console = a_narrow_console()
    show_execution(console, read_execution(execution))
    assert "and 59,999 more" in output_of(console)


def test_a_failed_execution_shows_its_error() -> None:
    execution = model_pb2.Execution(execution_arn=ARN, status="FAILED")
    execution.start_timestamp.FromDatetime(NOON)
    execution.end_timestamp.FromDatetime(NOON)
    execution.error.error_type = "ValueError"
    execution.error.error_message = "no such shop"
    console = a_narrow_console()
    show_execution(console, read_execution(execution))
    assert "ValueError: no such shop" in output_of(console)


def test_a_paused_execution_shows_its_reason() -> None:
    execution = model_pb2.Execution(execution_arn=ARN, status="PAUSED")
    execution.pause_details.reason = "lunch"
    console = a_narrow_console()
    show_execution(console, read_execution(execution))
    assert ": lunch" in output_of(console)


def test_a_diverged_pause_shows_what_differs_and_what_to_do() -> None:
    execution = model_pb2.Execution(execution_arn=ARN, status="PAUSED")
    execution.pause_details.diverged = True
    execution.pause_details.reason = (
        "replay differs from history: Durable call 2 does not match.\n"
        "  recorded:  STEP 'charge'\n  requested: STEP 'pay', at shop.py:7"
    )
    console = a_narrow_console()
    show_execution(console, read_execution(execution))
    lines = output_of(console).splitlines()
    head = next(line for line in lines if line.startswith("paused"))
    assert head.endswith("because a replay of the code diverged from the history:")
    assert lines[-4:] == [
        "  Durable call 2 does not match.",
        "    recorded:  STEP 'charge'",
        "    requested: STEP 'pay', at shop.py:7",
        f"  Mend the code, then: perdure executions resume '{ARN}'",
    ]


def test_a_failed_execution_shows_where_its_error_was_raised() -> None:
    execution = model_pb2.Execution(execution_arn=ARN, status="FAILED")
    execution.error.error_type = "ValueError"
    execution.error.stack_trace.extend(
        ['  File "shop.py", line 7, in charge\n    raise', "note: a"]
    )
    console = a_narrow_console()
    show_execution(console, read_execution(execution))
    assert output_of(console).splitlines()[-4:] == [
        "error      ValueError",
        '    File "shop.py", line 7, in charge',
        "      raise",
        "  note: a",
    ]


def test_an_empty_list_says_so() -> None:
    console = a_narrow_console()
    show_executions(console, [])
    assert output_of(console) == "no executions\n"


def test_functions_are_shown_with_their_workers() -> None:
    function = client_pb2.Function(function_name="order", durable=True, workers_connected=3)
    console = Console(file=io.StringIO(), width=100)
    show_functions(console, [read_function(function)])
    assert output_of(console).splitlines()[1].split()[:3] == ["order", "durable", "3"]


def test_a_payload_is_indented_where_it_is_json() -> None:
    assert format_payload('{"a":1}') == '{\n  "a": 1\n}'
    assert format_payload("approved") == "approved"


def test_a_long_payload_is_cut_and_says_where_all_of_it_is() -> None:
    text = format_payload('"' + "x" * 10_000 + '"')
    assert text.endswith("… (10002 characters; all of it with --output json)")


def test_a_quarantined_execution_is_marked_and_shows_its_reason() -> None:
    summary = model_pb2.ExecutionSummary(
        execution_arn=ARN, execution_name="o", status="RUNNING", quarantine_reason="record 3"
    )
    console = a_narrow_console()
    show_executions(console, [read_summary(summary)])
    assert "RUNNING (quarantined)" in output_of(console)
    execution = model_pb2.Execution(execution_arn=ARN, status="RUNNING")
    execution.quarantine_details.reason = "record 3 cannot be read"
    execution.quarantine_details.quarantine_timestamp.FromDatetime(NOON)
    console = a_narrow_console()
    show_execution(console, read_execution(execution))
    assert ": record 3 cannot be read" in output_of(console)
    assert "waits for" not in output_of(console)


def test_where_columns_do_not_fit_nothing_is_cut() -> None:
    console = a_narrow_console()
    summary = model_pb2.ExecutionSummary(
        execution_arn=ARN,
        execution_name="order-17",
        function_name="lambda_handler",
        status="FAILED",
    )
    show_executions(console, [read_summary(summary)])
    function = client_pb2.Function(function_name="a_function_with_a_long_name", retention_days=14)
    show_functions(console, [read_function(function)])
    lines = output_of(console).splitlines()
    assert lines[0] == "FAILED  order-17"
    assert lines[1] == "  lambda_handler"
    assert lines[-3:] == [
        "a_function_with_a_long_name",
        "  plain, workers: 0",
        "  timeout 0 ms, retention 14 d",
    ]
    assert max(len(line) for line in lines if line != ARN) <= 40
