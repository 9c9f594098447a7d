"""Crash tests: a function runs with a crash before and after each checkpoint, to the same result.

Histories are compared operation by operation, without times and without invocations, which crashes
always change. An interrupted attempt of an at-most-once step is ignored.
"""

from collections.abc import Callable, Iterator
from typing import Any

from perdure.testing.failures import Crash
from perdure.testing.history import ExecutionHistory, HistoryEvent
from perdure.testing.hosting import Handler
from perdure.testing.result import DurableFunctionTestResult
from perdure.testing.runner import DurableFunctionTestRunner
from perdure.testing.timeline import timeline

Prepare = Callable[[DurableFunctionTestRunner], object]
Drive = Callable[[DurableFunctionTestRunner, str], object]

Fact = tuple[str, ...]


class CrashDivergence(AssertionError):
    """An execution with a crash ended differently than without."""

    def __init__(self, message: str, crash: Crash) -> None:
        super().__init__(message)
        self.crash = crash


def for_each_crash(
    handler: Handler,
    input: Any = None,  # noqa: A002 - named as in `run`
    *,
    prepare: Prepare | None = None,
    drive: Drive | None = None,
    execution_timeout: int | None = None,
) -> tuple[DurableFunctionTestResult, ...]:
    """Run `handler` without a crash, then with one before and one after each checkpoint.

    `prepare(runner)` is called before each run: register functions, reset state of the last run.
    `drive(runner, arn)` is called during each run, for example to complete callbacks. Returns the
    results, the one without a crash first; raises `CrashDivergence` when one differs.
    """

    def run(*crash_at: Crash) -> tuple[DurableFunctionTestResult, int]:
        with DurableFunctionTestRunner(
            handler, execution_timeout=execution_timeout, crash_at=crash_at
        ) as runner:
            if prepare is not None:
                prepare(runner)
            arn = runner.run_async(input)
            if drive is not None:
                drive(runner, arn)
            return runner.wait_for_result(arn), runner.checkpoints_of(arn)

    expected, checkpoints = run()
    results = [expected]
    for number in range(1, checkpoints + 1):
        for crash in (Crash(number, accepted=False), Crash(number)):
            result, _ = run(crash)
            _compare(expected, result, crash)
            results.append(result)
    return tuple(results)


def outline(history: ExecutionHistory) -> dict[str, list[Fact]]:
    """Return the events of each operation, and the end of the execution, without times."""
    facts: dict[str, list[Fact]] = {}
    for event in history.events:
        if event.event_type == "InvocationCompleted":
            continue
        operation_facts = facts.setdefault(event.id or "", [])
        if _is_interruption(event):
            operation_facts.pop()  # the start of that attempt
        else:
            operation_facts.append(_fact(event))
    return facts


def _is_interruption(event: HistoryEvent) -> bool:
    return (
        event.event_type == "StepFailed"
        and event.error is not None
        and (event.error.error_type or "").endswith("StepInterruptedError")
        and event.retry_details is not None
        and event.retry_details.next_attempt_delay_ms is not None
    )


def _fact(event: HistoryEvent) -> Fact:
    texts = [event.name, event.sub_type, event.parent_id, event.input, event.result]
    if event.error is not None:
        texts += [event.error.error_type, event.error.error_message]
    return event.event_type, *("" if text is None else text for text in texts)


def _compare(
    expected: DurableFunctionTestResult, found: DurableFunctionTestResult, crash: Crash
) -> None:
    differences = list(_differences(expected, found))
    if not differences:
        return
    place = f"right {'after' if crash.accepted else 'before'} checkpoint {crash.checkpoint}"
    parts = [
        f"A crash of the worker {place} changes the end of the execution.",
        *differences,
        f"With the crash:\n{timeline(found.history)}",
        f"Without:\n{timeline(expected.history)}",
    ]
    raise CrashDivergence("\n".join(parts), crash)


def _differences(
    expected: DurableFunctionTestResult, found: DurableFunctionTestResult
) -> Iterator[str]:
    if _end(expected) != _end(found):
        yield f"  without it:  {_end(expected)}\n  with it:     {_end(found)}"
    there, here = outline(expected.history), outline(found.history)
    for id_ in dict.fromkeys([*there, *here]):
        if id_ and there.get(id_) != here.get(id_):
            yield f"  without it:  {there.get(id_)}\n  with it:     {here.get(id_)}"


def _end(result: DurableFunctionTestResult) -> str:
    if result.error is None:
        return f"{result.execution_status} {result.result}"
    return f"{result.execution_status} {result.error.type}: {result.error.message}"
