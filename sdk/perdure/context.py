"""What a handler is given: the durable operations, each a thin call of its program."""

import functools
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from perdure.callback import callback_result, create_callback
from perdure.config import CallbackConfig, Duration, StepConfig
from perdure.exceptions import InvocationError, ValidationError
from perdure.identity import Identity
from perdure.logger import Logger, log_extra
from perdure.program import Program
from perdure.retries import RetryPresets
from perdure.scope import Scope
from perdure.serdes import ExtendedTypeSerDes, PassThroughSerDes, Payloads, SerDes, SerDesContext
from perdure.step import StepPlan, step
from perdure.types import LoggerInterface, StepContext
from perdure.wait import check_wait, wait
from perdure_core.model import OperationType

__all__ = ["Callback", "DurableContext", "ExecutionContext", "durable_step"]

P = ParamSpec("P")
T = TypeVar("T")

_EXTENDED_TYPES = ExtendedTypeSerDes()
_PASS_THROUGH = PassThroughSerDes()


@dataclass(frozen=True)
class ExecutionContext:
    """Which execution this is."""

    durable_execution_arn: str


class DurableContext:
    """The durable operations of one handler.

    Calls must come in the same order on every replay, from one thread, and not from inside a step.
    Once an invocation has ended (the execution waits, is paused, or runs elsewhere), every call
    raises control flow, which derives from `BaseException`: let it pass.
    """

    def __init__(self, scope: Scope, logger: LoggerInterface | None = None) -> None:
        self.execution_context = ExecutionContext(scope.turn.execution_arn)
        self._scope = scope
        self._wrap(logger or logging.getLogger())

    @property
    def logger(self) -> Logger:
        """A logger whose records appear once, although the handler is replayed."""
        return self._logger

    def set_logger(self, new_logger: LoggerInterface) -> None:
        """Send records of this context, and of its operations, to `new_logger` from now on."""
        self._wrap(new_logger)

    def is_replaying(self) -> bool:
        """Whether the handler is still passing what it did in earlier invocations."""
        return self._scope.replaying

    def step(
        self,
        func: Callable[[StepContext], T],
        name: str | None = None,
        config: StepConfig | None = None,
    ) -> T:
        """Run `func` to a recorded outcome, and return its value.

        The value is what its serdes makes of it, on the first run and on replay. A failing `func`
        is tried again as the retry strategy says. `name` defaults to that of a `@durable_step`.

        Raises `StepError` when `func` failed for good, `ExecutionError` when its result is larger
        than 1,048,576 bytes, `ValidationError` for a name outside 1 to 256 printable ASCII
        characters.
        """
        _refuse_coroutine_function(func)
        settings = config or StepConfig()
        identity = self._scope.identify(
            OperationType.STEP, settings.sub_type or "Step", name or _original_name(func)
        )
        plan = StepPlan(
            semantics=settings.step_semantics,
            retry_strategy=settings.retry_strategy or RetryPresets.default(),
            payloads=self._payloads(identity, settings.serdes or _EXTENDED_TYPES),
        )
        body = functools.partial(self._run_step, identity, func)
        return cast("T", self._scope.perform(self._step(identity, plan, body)))

    def wait(self, duration: Duration, name: str | None = None) -> None:
        """Suspend for `duration`, 1 s to 366 days, at no cost meanwhile.

        Raises `ValidationError` outside these bounds.
        """
        wait_ms = check_wait(duration)
        identity = self._scope.identify(OperationType.WAIT, "Wait", name)
        self._scope.perform(wait(identity, self._scope.recorded(identity), wait_ms))

    def create_callback(
        self, name: str | None = None, config: CallbackConfig | None = None
    ) -> "Callback":
        """Create something that somebody outside completes. Returns at once with its id.

        How it ended, including badly, is learned from `result()`.
        """
        settings = config or CallbackConfig()
        identity = self._scope.identify(
            OperationType.CALLBACK, settings.sub_type or "Callback", name
        )
        recorded = self._scope.recorded(identity)
        callback_id = self._scope.perform(create_callback(identity, recorded, settings))
        payloads = self._payloads(identity, settings.serdes or _PASS_THROUGH)
        return Callback(callback_id, identity, self._scope, payloads)

    def _step(self, identity: Identity, plan: StepPlan, body: Callable[[int], Any]) -> Program[Any]:
        return step(identity, self._scope.recorded(identity), plan, body)

    def _run_step(self, identity: Identity, func: Callable[[StepContext], T], attempt: int) -> T:
        extra = log_extra(
            self.execution_context.durable_execution_arn,
            parent_id=identity.parent_id,
            operation_name=identity.name,
            attempt=attempt,
            operation_id=identity.id,
        )
        return func(StepContext(Logger(self._logger.get_logger(), extra), attempt))

    def _payloads(self, identity: Identity, serdes: SerDes[Any]) -> Payloads:
        context = SerDesContext(identity.id, self.execution_context.durable_execution_arn)
        return Payloads(serdes, context)

    def _wrap(self, logger: LoggerInterface) -> None:
        extra = log_extra(
            self.execution_context.durable_execution_arn, parent_id=self._scope.parent_id
        )
        self._logger = Logger(logger, extra, self.is_replaying)


class Callback:
    """A promise that somebody outside keeps, made by `DurableContext.create_callback`."""

    def __init__(
        self, callback_id: str, identity: Identity, scope: Scope, payloads: Payloads
    ) -> None:
        self.callback_id = callback_id
        self.operation_id = identity.id
        self._identity = identity
        self._scope = scope
        self._payloads = payloads

    def result(self) -> Any:
        """Return what the callback was completed with, suspending until it is.

        Raises `CallbackExternalError` when it was completed as failed, `CallbackTimeoutError` when
        nobody completed it, or gave a sign of life, in time.
        """
        self._scope.enter("the result of a callback")
        operation = self._scope.turn.recorded(self.operation_id)
        if operation is None:
            raise InvocationError(f"Callback {self.operation_id} is not recorded.")
        text = self._scope.perform(callback_result(self._identity, operation))
        return self._payloads.read(text)


@dataclass(frozen=True)
class _BoundStep(Generic[T]):
    """A step with its arguments; waits for its `StepContext`."""

    func: Callable[[StepContext], T]
    _original_name: str

    def __call__(self, step_context: StepContext) -> T:
        return self.func(step_context)


def durable_step(
    func: Callable[Concatenate[StepContext, P], T],
) -> Callable[P, Callable[[StepContext], T]]:
    """Make a step of `func(step_context, *args)`: given its arguments, it fits `context.step`.

    The step is named after the function. Raises `ValidationError` for a coroutine function.
    """
    _refuse_coroutine_function(func)

    @functools.wraps(func)
    def bind(*args: P.args, **kwargs: P.kwargs) -> Callable[[StepContext], T]:
        def body(step_context: StepContext) -> T:
            return func(step_context, *args, **kwargs)

        return _BoundStep(body, func.__name__)

    return bind


def _original_name(func: object) -> str | None:
    return getattr(func, "_original_name", None)


def _refuse_coroutine_function(func: object) -> None:
    if inspect.iscoroutinefunction(func):
        raise ValidationError(
            f"{getattr(func, '__name__', func)!r} is a coroutine function; "
            "a step's body is an ordinary function."
        )
