"""Checks of what executions came to, by their histories and by what was seen outside."""

import json
from collections.abc import Mapping

from perdure_core.events import (
    CallbackSucceeded,
    ChainedInvokeSucceeded,
    Record,
    StepFailed,
    StepReady,
    StepStarted,
    StepSucceeded,
    WaitStarted,
    WaitSucceeded,
)
from perdure_core.fold import fold
from perdure_core.identity import arn_of
from perdure_core.payload import text_of
from perdure_core.state import State
from perdure_host.ports import ExecutionRow
from tests.history.scripted import Ledger, Script, Step
from tests.history.simulation import Simulation


def check_outcomes(simulation: Simulation, scripts: Mapping[str, Script], ledger: Ledger) -> None:
    """Compare every execution with its script, its history and the ledger."""
    simulation.check_histories()
    for row in simulation.rows():
        records = simulation.records(row.key)
        state = fold(records)
        arn = arn_of(row.identity)
        script = scripts[row.function]
        results = _results(records)
        assert row.status == "SUCCEEDED", (row, state.error)
        assert state.result == json.dumps([results[item.id] for item in script])
        for item in script:
            if isinstance(item, Step):
                _check_step(item, arn, results[item.id], ledger)
        _check_times(records)
        _check_starts(row, records)
        _check_parent(state)


def _results(records: list[Record]) -> dict[str, str | None]:
    results: dict[str, str | None] = {}
    for record in records:
        for event in record.events:
            if isinstance(event, StepSucceeded | CallbackSucceeded | ChainedInvokeSucceeded):
                results[event.subject.id] = text_of(event.result)
            elif isinstance(event, WaitSucceeded):
                results[event.subject.id] = None
    return results


def _check_step(item: Step, arn: str, result: str | None, ledger: Ledger) -> None:
    acknowledged = ledger.acknowledged.get((arn, item.id))
    assert acknowledged in (None, result), "a result was acknowledged and another recorded"
    if item.at_most_once:
        runs = {key: n for key, n in ledger.bodies.items() if key[:2] == (arn, item.id)}
        assert max(runs.values()) == 1, runs


def _check_times(records: list[Record]) -> None:
    """Nothing that waits for time may happen before it."""
    due: dict[str, int] = {}
    for record in records:
        for event in record.events:
            if isinstance(event, WaitStarted):
                due[event.subject.id] = event.scheduled_end_ms
            elif isinstance(event, StepFailed) and event.next_attempt_delay_ms is not None:
                due[event.subject.id] = record.at_ms + event.next_attempt_delay_ms
            elif isinstance(event, WaitSucceeded | StepReady):
                assert record.at_ms >= due.pop(event.subject.id)


def _check_starts(row: ExecutionRow, records: list[Record]) -> None:
    """An attempt begins once."""
    began: set[str] = set()
    for record in records:
        for event in record.events:
            if isinstance(event, StepStarted):
                assert event.subject.id not in began, row
                began.add(event.subject.id)
            elif isinstance(event, StepFailed):
                began.discard(event.subject.id)


def _check_parent(state: State) -> None:
    assert state.callbacks_open == state.children_open == state.timed_open == 0
