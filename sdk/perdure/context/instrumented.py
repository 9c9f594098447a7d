"""Instrumented programs: notify plugins of what an operation does while it is driven.

This stands between a program and the driver that performs its effects, so plugins see the same of
handlers that block and of handlers that await, and neither programs nor drivers know of plugins.
Hooks are called where the program runs: on the thread, or in the task, that drives the operation.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from perdure.exceptions import ChildContextError, SerDesError
from perdure.operations.child import large_result_summary
from perdure.operations.identity import Identity
from perdure.operations.program import Commit, Effect, Program, Run, RunChild, Send, Suspend
from perdure.operations.step import attempt_number
from perdure.plugins.hooks import (
    OperationEndInfo,
    OperationStartInfo,
    PropagationInput,
    UserFunctionEndInfo,
    UserFunctionOutcome,
    UserFunctionStartInfo,
)
from perdure.plugins.invocation_plugins import InvocationPlugins
from perdure.primitives.user_code import raised_error
from perdure.serdes.error_records import error_record, record_of
from perdure_core.model import (
    OPERATION_OPEN,
    ErrorObject,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
)
from perdure_core.timestamps import from_epoch_ms

T = TypeVar("T")

_CLOSES: Final = frozenset({OperationAction.SUCCEED, OperationAction.FAIL})


def instrumented(
    plugins: InvocationPlugins,
    identity: Identity,
    recorded: Callable[[str], Operation | None],
    program: Program[T],
    *,
    virtual: bool = False,
) -> Program[T]:
    """Run `program` unchanged, and notify the plugins of what it does.

    `recorded` returns the operation of an id as it stands now.
    """
    instrumentation = _OperationInstrumentation(plugins, identity, recorded, virtual=virtual)
    answer: Any = None
    failure: BaseException | None = None
    instrumentation.begin()
    while True:
        try:
            effect = program.send(answer) if failure is None else program.throw(failure)
        except StopIteration as stop:
            instrumentation.returned()
            value: T = stop.value
            return value
        except (ChildContextError, SerDesError) as error:
            instrumentation.raised(error)
            raise
        answer = failure = None
        try:
            effect = instrumentation.before(effect)
            answer = yield effect
            instrumentation.after(effect)
        except GeneratorExit:  # the driver closed the program, and answers no more effects
            program.close()
            raise
        except BaseException as error:  # noqa: BLE001 - the program decides what it means
            failure = instrumentation.failed(error)


class _OperationInstrumentation:
    """Notifies the plugins of one operation."""

    def __init__(
        self,
        plugins: InvocationPlugins,
        identity: Identity,
        recorded: Callable[[str], Operation | None],
        *,
        virtual: bool,
    ) -> None:
        self._plugins = plugins
        self._identity = identity
        self._recorded = recorded
        self._virtual = virtual
        self._rebuilding = (
            identity.type is OperationType.CONTEXT
            and large_result_summary(recorded(identity.id)) is not None
        )
        self._running: UserFunctionStartInfo | None = None

    def begin(self) -> None:
        """Notify of what is recorded of the operation before its program runs."""
        operation = self._recorded(self._identity.id)
        if operation is None:
            return
        if operation.status not in OPERATION_OPEN:
            self._plugins.notify_end(operation.id)
        elif operation.status is not OperationStatus.READY:  # that one is about to start again
            self._plugins.notify_replayed(operation)

    def before(self, effect: Effect) -> Effect:
        """Notify of what `effect` starts; return it, with the trace header of the plugins."""
        match effect:
            case Send(update) | Commit(update) if update.action is OperationAction.START:
                self._plugins.notify_start(self._start_info())
                if update.type is OperationType.CHAINED_INVOKE:
                    return Commit(self._with_header(update))
            case Send(update) | Commit(update) if update.action in _CLOSES:
                self._plugins.note_closing(update)
            case Run() | RunChild():
                self._running = self._function_info()
                self._plugins.notify(self._running)
            case _:
                pass
        return effect

    def after(self, effect: Effect) -> None:
        """Notify of what has ended now that `effect` is done."""
        match effect:
            case Commit(update):
                self._plugins.notify_end(update.id)
            case Suspend(operation_id):
                self._plugins.notify_end(operation_id)
            case Run() | RunChild():
                self._end_function(UserFunctionOutcome.SUCCEEDED)
            case _:
                pass

    def failed(self, error: BaseException) -> BaseException:
        """Notify of what has ended because an effect failed; return the error for the program."""
        try:
            if isinstance(error, Exception):
                self._end_function(UserFunctionOutcome.FAILED, error_record(raised_error(error)))
            else:
                self._end_function(UserFunctionOutcome.INCOMPLETE)
        except BaseException as stop:  # noqa: BLE001 - a plugin asks to stop
            return stop
        return error

    def returned(self) -> None:
        """Notify of the end of a context that records none."""
        if self._virtual or self._rebuilding:
            self._plugins.notify(self._end_info(OperationStatus.SUCCEEDED))

    def raised(self, error: ChildContextError | SerDesError) -> None:
        """Notify of the end of a context that records none."""
        if self._virtual:
            self._plugins.notify(self._end_info(OperationStatus.FAILED, record_of(error)))

    def _with_header(self, update: OperationUpdate) -> OperationUpdate:
        target = PropagationInput(
            execution_arn=self._plugins.execution_arn,
            operation_id=update.id,
            target_function_name=update.function or "",
            parent_operation_id=update.parent_id,
        )
        return msgspec.structs.replace(update, trace_header=self._plugins.trace_header(target))

    def _end_function(self, outcome: UserFunctionOutcome, error: ErrorObject | None = None) -> None:
        running, self._running = self._running, None
        if running is not None:
            end = UserFunctionEndInfo.from_start_info(running, error, outcome=outcome)
            self._plugins.notify(replace(end, end_time=self._now()))

    def _start_info(self) -> OperationStartInfo:
        operation = self._recorded(self._identity.id)
        return OperationStartInfo(
            **self._who(),
            start_time=None if operation is None else from_epoch_ms(operation.started_ms),
            is_replayed=operation is not None,
            status=OperationStatus.STARTED,
        )

    def _function_info(self) -> UserFunctionStartInfo:
        identity = self._identity
        steps = identity.type is OperationType.STEP
        return UserFunctionStartInfo(
            **self._who(),
            start_time=self._now(),
            is_replayed=False,
            status=OperationStatus.STARTED,
            attempt=attempt_number(self._recorded(identity.id)) if steps else None,
            is_replay_children=self._rebuilding,
        )

    def _end_info(
        self, status: OperationStatus, error: ErrorObject | None = None
    ) -> OperationEndInfo:
        return OperationEndInfo(
            **self._who(),
            start_time=None,
            end_time=self._now(),
            status=status,
            error=error,
            is_replayed=self._rebuilding,
        )

    def _who(self) -> dict[str, Any]:
        identity = self._identity
        return {
            "operation_id": identity.id,
            "operation_type": identity.type,
            "sub_type": identity.sub_type,
            "name": identity.name,
            "parent_id": identity.parent_id,
        }

    def _now(self) -> datetime:
        return from_epoch_ms(self._plugins.now_ms())
