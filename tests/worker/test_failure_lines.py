"""What the worker's log says about failures: one line each, which says where and what follows."""

import logging

import pytest

from perdure.worker_api import Diverged, Errored, Failed, Lost, Outcome, Pending, Succeeded
from perdure_core.model import (
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
)
from perdure_host.codec import update_to_message
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.failure_lines import ERROR_CHARS_MAX, attempt_lines, outcome_line

ARN = "arn:perdure:lambda:default:000000000000:function:order:$LATEST/durable-execution/o-1/u"
STACK = (
    '  File "/app/shop.py", line 30, in order\n    charge()',
    '  File "/app/bank.py", line 7, in charge\n    raise',
    "caused by OSError: down",
    '  File "/app/net.py", line 1, in send\n    raise',
)
HUNG_UP = ErrorObject("the bank\nhung up", "ConnectionError", stack_trace=STACK)


def failed_step(
    name: str | None = "charge", *, again_in_ms: int | None = None
) -> tuple[worker_pb2.OperationUpdate, Operation]:
    """Return the update of a failed attempt, the second, and what it leads to."""
    action = OperationAction.FAIL if again_in_ms is None else OperationAction.RETRY
    update = OperationUpdate(
        id="c" * 64,
        type=OperationType.STEP,
        action=action,
        error=HUNG_UP,
        next_attempt_delay_ms=again_in_ms,
    )
    # The answer does not repeat the error.
    status = OperationStatus.FAILED if again_in_ms is None else OperationStatus.PENDING
    details = StepDetails(attempt=2)
    operation = Operation(
        id="c" * 64,
        type=OperationType.STEP,
        status=status,
        started_ms=0,
        details=details,
        name=name,
    )
    return update_to_message(update), operation


def test_a_failed_attempt_names_its_place_and_when_the_next_one_follows() -> None:
    update, operation = failed_step(again_in_ms=90_000)
    (line,) = attempt_lines("order", ARN, [update], [operation])
    assert (line.level, line.text) == (
        logging.WARNING,
        (
            "order 'o-1': attempt 2 of 'charge' failed: ConnectionError: the bank hung up"
            " (/app/bank.py:7); attempt 3 follows in 1 min 30 s"
        ),
    )
    assert line.fields == {
        "executionArn": ARN,
        "operationName": "charge",
        "attempt": 2,
        "operationId": "c" * 64,
    }


def test_the_last_attempt_says_that_it_was_the_last() -> None:
    update, operation = failed_step(None)
    (line,) = attempt_lines("order", ARN, [update], [operation])
    assert "attempt 2 of step cccccccc failed" in line.text
    assert line.text.endswith("(/app/bank.py:7); it is not tried again")


def test_what_has_not_failed_has_no_line() -> None:
    _, operation = failed_step()
    started = worker_pb2.OperationUpdate(id="c" * 64, type="STEP", action="START")
    failed = worker_pb2.OperationUpdate(id="c" * 64, type="CONTEXT", action="FAIL")
    failed.error.error_type = "OSError"
    assert attempt_lines("order", ARN, [started, failed], [operation]) == []


@pytest.mark.parametrize(
    ("outcome", "level", "text"),
    [
        (
            Failed(HUNG_UP),
            logging.ERROR,
            "order 'o-1' failed: ConnectionError: the bank hung up (/app/bank.py:7)",
        ),
        (
            Errored(ErrorObject("no state")),
            logging.WARNING,
            "order 'o-1': the invocation failed and will run again: no state",
        ),
        (
            Diverged(ErrorObject("Call 2 differs.\n  recorded:  a\n  requested: b, at shop.py:9")),
            logging.ERROR,
            (
                "order 'o-1' is paused: a replay diverged from its history: Call 2 differs."
                " | recorded: a | requested: b, at shop.py:9"
            ),
        ),
    ],
)
def test_an_invocation_that_ends_badly_has_one_line(
    outcome: Outcome, level: int, text: str
) -> None:
    line = outcome_line("order", ARN, outcome)
    assert line is not None
    assert (line.level, line.text, line.fields) == (level, text, {"executionArn": ARN})


@pytest.mark.parametrize("outcome", [Succeeded("1"), Pending(), Lost()])
def test_any_other_has_none(outcome: Outcome) -> None:
    assert outcome_line("order", ARN, outcome) is None


def test_a_long_message_is_cut() -> None:
    line = outcome_line("order", ARN, Failed(ErrorObject("x" * 100_000)))
    assert line is not None
    assert ERROR_CHARS_MAX < len(line.text) < ERROR_CHARS_MAX + 100
