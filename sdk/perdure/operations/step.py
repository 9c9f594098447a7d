"""The rules of a step: run once to a recorded outcome, retried as its strategy says.

    no record ── START ──> STARTED ── SUCCEED ──> SUCCEEDED
                             │  └─── FAIL ──────> FAILED
                           RETRY
                             v
                          PENDING ── due ──> READY ── START ──> STARTED …

At least once: START is sent and the body begins; a replay that finds STARTED runs the body again
under the same attempt. At most once: START is durable before the body; a replay that finds STARTED
does not know how far the body came, so it asks the retry strategy with a `StepInterruptedError`.
With a timeout, START is durable before the body too: from then on the attempt's time runs, however
often its worker is lost, and a replay that finds none left fails the attempt without its body.
HEARTBEAT, while STARTED, keeps the progress that the body reports for the next run of the attempt.
Semantics and awaited updates are those of the AWS Lambda durable execution SDK for Python 3.0
(operation.step).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from perdure.exceptions import (
    ExecutionError,
    InvalidStateError,
    InvocationError,
    RetryableSerDesError,
    SerDesError,
    StepCancelledError,
    StepInterruptedError,
)
from perdure.operations.attempt import Attempt, AttemptClock
from perdure.operations.heartbeats import NO_PROGRESS, HeartbeatPlan, PriorProgress
from perdure.operations.identity import Identity
from perdure.operations.program import (
    Program,
    Replayed,
    ReplayEnded,
    Run,
    Send,
    StepFinished,
    commit,
    suspend,
)
from perdure.operations.retry_after import retry_after_ms
from perdure.operations.stopwatch import Stopwatch
from perdure.primitives.user_code import RaisedByUserCode, repr_of
from perdure.serdes.error_records import error_record, step_error
from perdure.serdes.serializers import Payloads
from perdure.settings.operations import StepSemantics
from perdure.settings.retry_strategies import RetryStrategy, delay_ms
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.model import (
    OPERATION_OPEN,
    Operation,
    OperationAction,
    OperationStatus,
    StepDetails,
)
from perdure_core.payload import bytes_of, text_of


class StepPlan(msgspec.Struct, frozen=True):
    """A step's configuration with every default filled in."""

    semantics: StepSemantics
    retry_strategy: RetryStrategy
    payloads: Payloads
    clock: AttemptClock
    heartbeats: HeartbeatPlan
    timeout_ms: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether an attempt can time out."""
        return self.timeout_ms is not None or self.heartbeats.timeout_ms is not None


def step(
    identity: Identity, recorded: Operation | None, plan: StepPlan, body: Callable[[Attempt], Any]
) -> Program[Any]:
    """Return the step's value, from the record or by running `body(attempt)`.

    Raises `StepError` when the step has failed for good, `SerDesError` when its value could not be
    written or read.
    """
    operation = recorded
    while operation is None or operation.status in OPERATION_OPEN:
        if operation is not None and operation.status is OperationStatus.PENDING:
            due_ms = step_details(operation).next_attempt_ms
            operation = yield from suspend(operation, f"{identity.describe()} retries", due_ms)
            continue
        yield ReplayEnded()
        watch = Stopwatch(plan.clock.monotonic_ms)
        try:
            payload, value = yield from _attempt(identity, operation, plan, body, watch)
        except RaisedByUserCode as raised:
            operation = yield from _fail(identity, operation, plan, raised.error, watch)
        except (ExecutionError, InvocationError) as error:
            if not isinstance(error, StepInterruptedError):
                raise
            operation = yield from _fail(identity, operation, plan, error, watch)
        except StepCancelledError as error:
            # For an attempt that is cancelled, recording raises control flow; this one was not.
            unfounded = InvalidStateError(
                f"StepCancelledError was raised by the step itself; the step was not cancelled."
                f" Its message: {error}"
            )
            operation = yield from _fail(identity, operation, plan, unfounded, watch)
        except Exception as error:  # noqa: BLE001 - whatever a body raises is recorded
            operation = yield from _fail(identity, operation, plan, error, watch)
        else:
            took_ms = watch.body_ms
            success = identity.update(OperationAction.SUCCEED, payload=payload, duration_ms=took_ms)
            yield from commit(success)
            yield StepFinished("succeeded")
            return value
    yield Replayed()
    return _outcome(operation, plan)


def check_size(identity: Identity, payload: str | None, what: str = "result") -> None:
    """Raise `ExecutionError` when a result, or another payload, is too large to be recorded."""
    size = 0 if payload is None else bytes_of(payload)
    if size > PAYLOAD_BYTES_MAX:
        raise ExecutionError(
            f"The {what} of {identity.describe()} is {size:,} bytes; "
            f"at most {PAYLOAD_BYTES_MAX:,} can be recorded."
        )


def attempt_number(operation: Operation | None) -> int:
    """Return the number of the next attempt, from 1."""
    return 1 if operation is None else step_details(operation).attempt + 1


def step_details(operation: Operation) -> StepDetails:
    """Return the details of a recorded step."""
    details = operation.details
    if not isinstance(details, StepDetails):
        raise InvocationError(
            f"Operation {operation.id} is recorded with details of another type, not as a step."
        )
    return details


def _attempt(
    identity: Identity,
    operation: Operation | None,
    plan: StepPlan,
    body: Callable[[Attempt], Any],
    watch: Stopwatch,
) -> Program[tuple[str | None, Any]]:
    """Run the body once. The value has made the round trip that a replay's value makes."""
    number = attempt_number(operation)
    at_most_once = plan.semantics is StepSemantics.AT_MOST_ONCE_PER_RETRY
    started = operation is not None and operation.status is OperationStatus.STARTED
    if started and at_most_once:
        raise StepInterruptedError(
            f"{identity.describe()} was interrupted in attempt {number}.", identity.id
        )
    progress = _prior_progress(operation, plan)
    if not started:
        start = identity.update(OperationAction.START)
        if at_most_once or plan.is_limited:
            yield from commit(start)
        else:
            yield Send(start)
    title = f"Attempt {number} of {identity.describe()}"
    attempt = Attempt(
        number,
        title,
        plan.clock,
        plan.heartbeats,
        timeout_ms=plan.timeout_ms,
        at_most_once=at_most_once,
        progress=progress,
    )
    attempt.raise_if_timed_out()
    value = yield from _run(identity, attempt, body, watch)
    payload = plan.payloads.write(value)
    check_size(identity, payload)
    return payload, plan.payloads.read(payload)


def _run(
    identity: Identity, attempt: Attempt, body: Callable[[Attempt], Any], watch: Stopwatch
) -> Program[Any]:
    """Call the body; its last heartbeat is recorded before its failure."""
    try:
        with attempt, watch:
            value: Any = yield Run(partial(body, attempt))
    except (Exception, StepCancelledError) as error:
        unrecorded = attempt.heartbeats.end()
        if unrecorded is not None:
            yield Send(identity.update(OperationAction.HEARTBEAT, payload=unrecorded[0]))
        if isinstance(error, InvocationError) and not isinstance(error, RetryableSerDesError):
            # One of the user's code is a failure like any other, and not the invocation's.
            raise RaisedByUserCode(error) from error
        raise
    finally:
        attempt.heartbeats.end()
    return value


def _prior_progress(operation: Operation | None, plan: StepPlan) -> PriorProgress:
    """Return the recorded progress of the next attempt; older servers do not report it."""
    if operation is None:
        return NO_PROGRESS
    details = step_details(operation)
    began_ms = details.attempt_started_ms
    if operation.status is not OperationStatus.STARTED or began_ms is None:
        return PriorProgress(heartbeat=details.heartbeat)
    elapsed_since_ms, heartbeat_ms = plan.clock.elapsed_since_ms, details.heartbeat_ms
    heartbeat_ago_ms = None if heartbeat_ms is None else elapsed_since_ms(heartbeat_ms)
    return PriorProgress(elapsed_since_ms(began_ms), details.heartbeat, heartbeat_ago_ms)


def _fail(
    identity: Identity,
    operation: Operation | None,
    plan: StepPlan,
    error: BaseException,
    watch: Stopwatch,
) -> Program[Operation]:
    """Record a failed attempt; return the operation if it is retried, or raise `StepError`."""
    failure = error_record(error)
    delay = _retry_delay_ms(identity, plan, error, attempt_number(operation))
    if delay is None:
        took_ms = watch.body_ms
        yield from commit(identity.update(OperationAction.FAIL, error=failure, duration_ms=took_ms))
        yield StepFinished("failed")
        raise step_error(failure)
    retry = identity.update(
        OperationAction.RETRY,
        error=failure,
        next_attempt_delay_ms=delay,
        duration_ms=watch.body_ms,
    )
    retried = yield from commit(retry)
    yield StepFinished("retried")
    return retried


def _retry_delay_ms(
    identity: Identity, plan: StepPlan, error: BaseException, attempt: int
) -> int | None:
    if isinstance(error, SerDesError):  # what cannot be written now can never be
        return None
    if not isinstance(error, Exception):  # SystemExit and its like are no passing failures
        return None
    try:
        decision = plan.retry_strategy(error, attempt)
    except Exception as broken:
        raise ExecutionError(
            f"The retry strategy of {identity.describe()} raised {repr_of(broken)}."
        ) from broken
    if not decision.should_retry:
        return None
    return max(delay_ms(decision.delay), retry_after_ms(error, plan.clock.now_ms))


def _outcome(operation: Operation, plan: StepPlan) -> Any:
    details = step_details(operation)
    if operation.status is OperationStatus.SUCCEEDED:
        return plan.payloads.read(text_of(details.result))
    raise step_error(details.error)
