"""Test runner of durable functions: the real core in memory, on virtual time.

    with DurableFunctionTestRunner(handler) as runner:
        assert runner.run({"order_id": "17"}).value == {"order_id": "17", "status": "done"}

Names are those of the AWS durable execution testing kit for Python 1.4 (runner). It differs on
purpose in two points: an execution may take as long as its function allows (there: 300 s), and
virtual time passes only while a test waits, so no callback times out between two lines of a test.
"""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, cast

from perdure.context.durable_context import DurableContext
from perdure.primitives.duration import Duration
from perdure.testing.clock import SystemClock, VirtualClock
from perdure.testing.failures import CrashAt, DurableFunctionsTestError, crash_plan
from perdure.testing.history import ExecutionHistory
from perdure.testing.hosting import (
    DurableHandler,
    Execution,
    Handler,
    PlainHandler,
    function_of,
    named,
    plain_function,
)
from perdure.testing.result import DurableFunctionTestResult, result_of
from perdure.testing.service import NAMESPACE, InMemoryService, execution_id_of
from perdure.testing.timeline import timeline
from perdure.testing.worker import run_invocation_of
from perdure.worker_api import RegisteredFunction, error_record
from perdure_core import commands
from perdure_core.json_text import json_text
from perdure_core.limits import EXECUTION_TIMEOUT_S_MAX, RETENTION_DAYS_DEFAULT
from perdure_core.model import CallbackDetails, ErrorObject, Operation, OperationStatus
from perdure_core.refusals import Refused
from perdure_core.state import is_open
from perdure_core.timestamps import from_epoch_ms

P = ParamSpec("P")

FUNCTION_NAME_DEFAULT = "test-function"
# Of real time. Tests take milliseconds, so one that hangs fails soon.
WAIT_S_DEFAULT = 60.0


class DurableFunctionTestRunner:
    """Hosts one function under test, durable or plain, and those that it invokes.

    `execution_timeout` (seconds, virtual) replaces that of the function. `skip_time=False` waits in
    real time. `always_replay` ends each invocation at each checkpoint that it waits for, so that
    the handler is replayed from its start as often as possible. `crash_at` loses the worker there:
    see `Crash`. `poll_interval` is accepted for compatibility; nothing is polled.
    """

    def __init__(
        self,
        handler: Handler,
        poll_interval: float = 1.0,
        execution_timeout: int | None = None,
        *,
        skip_time: bool = True,
        always_replay: bool = False,
        crash_at: CrashAt = (),
    ) -> None:
        del poll_interval
        self._function = function_of(handler, FUNCTION_NAME_DEFAULT)
        self._timeout_s = execution_timeout
        self._crash_at = crash_at
        self._started = 0
        clock = VirtualClock() if skip_time else SystemClock()
        self._service = InMemoryService(clock, run_invocation_of, always_replay=always_replay)
        self._service.functions[self._function.settings.name] = self._function

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Start no more invocations; executions that have not ended never will."""
        self._service.close()

    def register_durable_function(
        self,
        function_name: str,
        handler: DurableHandler,
        execution_timeout: int | None = None,
        retention_period_days: int = RETENTION_DAYS_DEFAULT,
    ) -> Self:
        """Register a durable function that executions may invoke by this name."""
        function = function_of(handler, function_name)
        if not function.durable:
            raise DurableFunctionsTestError(
                f"{function_name!r} must be a durable function. Use register_function for others."
            )
        self._service.functions[function_name] = named(
            function,
            function_name,
            execution_timeout_s=execution_timeout,
            retention_days=retention_period_days,
        )
        return self

    def register_function(self, function_name: str, handler: PlainHandler) -> Self:
        """Register a plain function to invoke: `handler(event)` or `handler(event, context)`.

        It is called as `@plain_function` calls its handler, and may be decorated with it.
        """
        self._service.functions[function_name] = plain_function(handler, function_name)
        return self

    def run(
        self,
        input: Any = None,  # noqa: A002 - named as in the AWS kit
        execution_timeout: int | None = None,
        timeout: float = WAIT_S_DEFAULT,
        function_name: str | None = None,
        execution_name: str | None = None,
        tenant_id: str | None = None,
    ) -> DurableFunctionTestResult:
        """Run an execution to its end; see `run_async` and `wait_for_result`."""
        arn = self.run_async(input, execution_timeout, function_name, execution_name, tenant_id)
        return self.wait_for_result(arn, timeout)

    def run_async(
        self,
        input: Any = None,  # noqa: A002 - named as in the AWS kit
        execution_timeout: int | None = None,
        function_name: str | None = None,
        execution_name: str | None = None,
        tenant_id: str | None = None,
    ) -> str:
        """Start an execution and return its ARN.

        `input` is JSON text, or any other value that JSON can hold. `function_name` selects a
        registered function, or else runs the one under test under this name. `execution_timeout` is
        in seconds of virtual time. Raises `DurableFunctionsTestError` for what the service would
        refuse.
        """
        function = self._find_function(function_name)
        settings = function.settings
        self._started += 1
        name = execution_name or f"execution-{self._started}"
        timeout_s = execution_timeout or self._timeout_s or settings.execution_timeout_s
        execution_id = execution_id_of(settings.name, name)
        if execution_id in self._service.executions:
            raise DurableFunctionsTestError(f"An execution named {name!r} exists already.")
        begin = commands.Start(
            namespace=NAMESPACE,
            function=settings.name,
            name=name,
            execution_id=execution_id,
            timeout_s=min(timeout_s, EXECUTION_TIMEOUT_S_MAX),
            retention_days=settings.retention_days,
            input=_input_text(input),
            tenant_id=tenant_id,
        )
        with _refusals():
            return self._service.start(begin, function, crash_plan(self._crash_at)).arn

    def wait_for_result(
        self, execution_arn: str, timeout: float = WAIT_S_DEFAULT
    ) -> DurableFunctionTestResult:
        """Advance time until an execution has ended, and return its result.

        Raises `DurableFunctionsTestError` when it never can end: it waits for a callback that is
        not completed, or is paused. Raises `TimeoutError` after `timeout` seconds of real time.
        """
        execution = self._find(execution_arn)
        self._service.wait(
            lambda: not is_open(execution.state),
            timeout,
            lambda: f"The end of {execution.identity.function}/{execution.identity.name}",
        )
        return result_of(execution)

    def wait_for_callback(
        self, execution_arn: str, name: str | None = None, timeout: float = WAIT_S_DEFAULT
    ) -> str:
        """Advance time until a callback is open and its invocation has ended; return its id.

        `name` is that of the callback, or of the `wait_for_callback` around it; of several, and
        without a name, it is the last one created. Raises as `wait_for_result` does, and
        `DurableFunctionsTestError` when the execution has ended without one that is open.
        """
        execution = self._find(execution_arn)
        subject = "A callback" if name is None else f"Callback {name!r}"

        def ready() -> bool:
            if _callback_id(execution, name) is None and not is_open(execution.state):
                raise _no_callback(execution, name, subject)
            return not execution.running and _callback_id(execution, name) is not None

        self._service.wait(ready, timeout, lambda: subject)
        return cast("str", _callback_id(execution, name))

    def send_callback_success(self, callback_id: str, result: Any = None) -> None:
        """Complete a callback; text and bytes are sent unchanged, other values as JSON.

        Raises `DurableFunctionsTestError` when it is completed already, unless with this result.
        """
        text = result.decode() if isinstance(result, bytes) else _as_text(result)
        self._complete(callback_id, succeeded=True, result=text)

    def send_callback_failure(
        self, callback_id: str, error: ErrorObject | BaseException | str | None = None
    ) -> None:
        """Complete a callback as failed. Raises as `send_callback_success` does."""
        self._complete(callback_id, succeeded=False, error=_error_record(error))

    def send_callback_heartbeat(self, callback_id: str) -> None:
        """Send a heartbeat for a callback. Raises as `send_callback_success` does."""
        execution, operation_id = self._find_callback(callback_id)
        with _refusals():
            self._service.command(execution, commands.HeartbeatCallback(operation_id))

    def get_execution_history(self, execution_arn: str) -> ExecutionHistory:
        """Return the events so far of any execution of this runner."""
        execution = self._find(execution_arn)
        with self._service.changed:
            return execution.history()

    def get_execution(self, execution_arn: str) -> DurableFunctionTestResult:
        """Return the current state of an execution, whether it has ended or not."""
        execution = self._find(execution_arn)
        with self._service.changed:
            return result_of(execution)

    def pause_execution(self, execution_arn: str, timeout: float = WAIT_S_DEFAULT) -> None:
        """Pause an execution, and wait until the current invocation has ended."""
        execution = self._find(execution_arn)
        with self._service.changed:
            if is_open(execution.state):
                self._service.command(execution, commands.Pause(running=execution.running))
        self._service.wait(
            lambda: not execution.running, timeout, lambda: "The end of an invocation"
        )

    def resume_execution(self, execution_arn: str) -> None:
        """End a pause."""
        execution = self._find(execution_arn)
        with self._service.changed:
            if is_open(execution.state):
                self._service.command(execution, commands.Resume())

    def stop_execution(
        self, execution_arn: str, error: ErrorObject | BaseException | str | None = None
    ) -> None:
        """End an execution as STOPPED."""
        execution = self._find(execution_arn)
        self._service.command(execution, commands.Stop(_error_record(error)))

    def skip(self, duration: Duration) -> None:
        """Advance virtual time, and run all that becomes due.

        When the body of a step calls this, the body takes that long.
        """
        clock = self._service.clock
        if not clock.skips:
            raise DurableFunctionsTestError(
                "skip needs virtual time. Create the runner with skip_time=True."
            )
        self._service.skip_to(clock.now_ms() + duration.to_milliseconds())

    def timeline(self) -> str:
        """Return the timelines of all executions as text."""
        with self._service.changed:
            histories = [each.history() for each in self._service.executions.values()]
        return "\n\n".join(map(timeline, histories))

    def checkpoints_of(self, execution_arn: str) -> int:
        """Return the number of accepted checkpoints of an execution, where `crash_at` may apply."""
        return self._find(execution_arn).checkpoints

    @property
    def now(self) -> datetime:
        """The current time of the executions."""
        return from_epoch_ms(self._service.clock.now_ms())

    def _complete(self, callback_id: str, **outcome: Any) -> None:
        execution, operation_id = self._find_callback(callback_id)
        with _refusals():
            self._service.command(
                execution, commands.CompleteCallback(operation_id=operation_id, **outcome)
            )

    def _find(self, arn: str) -> Execution:
        for execution in list(self._service.executions.values()):
            if execution.arn == arn:
                return execution
        raise DurableFunctionsTestError(f"Execution {arn!r} does not exist in this runner.")

    def _find_function(self, name: str | None) -> RegisteredFunction:
        if name is None:
            return self._function
        return self._service.functions.get(name) or named(self._function, name)

    def _find_callback(self, callback_id: str) -> tuple[Execution, str]:
        found = self._service.callbacks.get(callback_id)
        if found is None:
            raise DurableFunctionsTestError(f"Callback {callback_id!r} does not exist.")
        return found


class DurableChildContextTestRunner(DurableFunctionTestRunner):
    """Hosts one `@durable_with_child_context` function with its arguments."""

    def __init__(
        self,
        context_function: Callable[P, Callable[[DurableContext], Any]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        body = context_function(*args, **kwargs)
        super().__init__(lambda _event, context: body(context))


@contextmanager
def _refusals() -> Generator[None]:
    """Raise `DurableFunctionsTestError` for what the service would refuse."""
    try:
        yield
    except Refused as refusal:
        raise DurableFunctionsTestError(str(refusal)) from refusal


def _input_text(value: Any) -> str | None:
    if not isinstance(value, str):
        return _as_text(value)
    try:
        json.loads(value)
    except ValueError as error:
        raise DurableFunctionsTestError(
            f"input must be JSON when it is text, got {value!r}. Use json.dumps for a plain text."
        ) from error
    return value


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        return json_text(value)
    except (TypeError, ValueError) as error:
        raise DurableFunctionsTestError(f"value must be JSON: {error}") from error


def _error_record(error: ErrorObject | BaseException | str | None) -> ErrorObject | None:
    if isinstance(error, BaseException):
        return error_record(error)
    return ErrorObject(error) if isinstance(error, str) else error


def _callback_id(execution: Execution, name: str | None) -> str | None:
    """Return the id of the last callback of this name, or of any, that is open."""
    found: str | None = None
    for operation in _callbacks(execution, name):
        assert isinstance(operation.details, CallbackDetails)
        if operation.status is OperationStatus.STARTED:
            found = operation.details.callback_id
    return found


def _callbacks(execution: Execution, name: str | None) -> list[Operation]:
    """Return the callbacks of this name, or all; a program may have given it to the call around."""
    operations = execution.state.operations

    def is_named(operation: Operation) -> bool:
        above = operations.get(operation.parent_id or "")
        called = None if above is None or above.sub_type != "WaitForCallback" else above.name
        return name in (None, operation.name, called)

    callbacks = (each for each in operations.values() if isinstance(each.details, CallbackDetails))
    return [each for each in callbacks if is_named(each)]


def _no_callback(execution: Execution, name: str | None, subject: str) -> DurableFunctionsTestError:
    """Return the error of an execution that has ended, and has no such callback any more."""
    completed = [] if name is None else _callbacks(execution, name)
    if completed:
        return DurableFunctionsTestError(f"{subject} is {completed[-1].status} already.")
    history = timeline(execution.history())
    return DurableFunctionsTestError(f"{subject} was never created.\n{history}")
