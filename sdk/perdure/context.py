"""What a handler is given: the durable operations, each a thin call of its program."""

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from perdure.batch import BatchPlan, Branch, batch, batch_again
from perdure.batch_result import BatchResult, summarize
from perdure.batch_words import MAP, PARALLEL, BatchWords
from perdure.callback import callback_result, create_callback
from perdure.child import ChildPlan, child, large_result_summary
from perdure.completion import CompletionPolicy
from perdure.condition import ConditionPlan, wait_for_condition
from perdure.config import (
    CallbackConfig,
    ChildConfig,
    Duration,
    InvokeConfig,
    MapConfig,
    NestingType,
    ParallelBranch,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
)
from perdure.decorators import (
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
    original_name,
    refuse_coroutine_function,
)
from perdure.exceptions import ChildContextError, InvocationError
from perdure.identity import Identity, check_name
from perdure.invoke import invoke
from perdure.logger import Logger, log_extra
from perdure.program import Program
from perdure.retries import RetryPresets
from perdure.scope import Scope
from perdure.serdes import (
    ExtendedTypeSerDes,
    JsonSerDes,
    PassThroughSerDes,
    Payloads,
    SerDes,
    SerDesContext,
)
from perdure.step import StepPlan, step
from perdure.strand import Strand
from perdure.submission import submission, submission_error
from perdure.types import (
    LoggerInterface,
    StepContext,
    WaitForCallbackContext,
    WaitForConditionCheckContext,
)
from perdure.wait import check_wait, wait
from perdure.waits import WaitForConditionConfig
from perdure_core.model import OperationType

__all__ = [
    "Callback",
    "DurableContext",
    "ExecutionContext",
    "durable_parallel_branch",
    "durable_step",
    "durable_wait_for_callback",
    "durable_with_child_context",
]

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")
U = TypeVar("U")

_EXTENDED_TYPES = ExtendedTypeSerDes()
_JSON = JsonSerDes()
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

    @property
    def is_virtual(self) -> bool:
        """Whether this is a context that records nothing itself."""
        return self._scope.prefix != self._scope.parent_id

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
        refuse_coroutine_function(func)
        settings = config or StepConfig()
        identity = self._scope.identify(
            OperationType.STEP, settings.sub_type or "Step", name or original_name(func)
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

    def wait_for_callback(
        self,
        submitter: Callable[[str, WaitForCallbackContext], Any],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
    ) -> Any:
        """Hand a callback's id to somebody outside, and return what they complete it with.

        `submitter(callback_id, context)` runs as a step does. `name` defaults to that of a
        `@durable_wait_for_callback`. Raises `CallbackSubmitterError` when the submitter failed for
        good, and what `Callback.result` raises.
        """
        refuse_coroutine_function(submitter)
        settings = config or WaitForCallbackConfig()
        title = name or original_name(submitter)
        child_config = ChildConfig[Any](serdes=settings.serdes, sub_type="WaitForCallback")
        try:
            return self.run_in_child_context(
                submission(submitter, title, settings), title, child_config
            )
        except ChildContextError as error:
            failure = submission_error(error)
        raise failure

    def wait_for_condition(
        self,
        check: Callable[[T, WaitForConditionCheckContext], T],
        config: WaitForConditionConfig[T],
        name: str | None = None,
    ) -> T:
        """Call `check` with its own last answer until the strategy is content with it.

        Between two checks the execution waits at no cost. Raises `WaitForConditionError` when the
        check or the strategy raises: nothing is tried again.
        """
        refuse_coroutine_function(check)
        identity = self._scope.identify(OperationType.STEP, "WaitForCondition", name)
        plan = ConditionPlan(
            initial_state=config.initial_state,
            wait_strategy=config.wait_strategy,
            payloads=self._payloads(identity, config.serdes or _EXTENDED_TYPES),
        )
        body = functools.partial(self._run_check, identity, check)
        recorded = self._scope.recorded(identity)
        return cast("T", self._scope.perform(wait_for_condition(identity, recorded, plan, body)))

    def invoke(
        self,
        function_name: str,
        payload: P,
        name: str | None = None,
        config: InvokeConfig[P, R] | None = None,
    ) -> R:
        """Run another function, durable or not, as an execution of its own; return its result.

        Raises `InvokeError` when it fails, times out, is stopped or does not exist.
        """
        settings = config or InvokeConfig[P, R]()
        identity = self._scope.identify(OperationType.CHAINED_INVOKE, "ChainedInvoke", name)
        written = self._payloads(identity, settings.serdes_payload or _JSON)
        program = invoke(
            identity,
            self._scope.recorded(identity),
            function_name,
            lambda: written.write(payload),
            settings.tenant_id,
        )
        result = self._scope.perform(program)
        return cast("R", self._payloads(identity, settings.serdes_result or _JSON).read(result))

    def run_in_child_context(
        self,
        func: "Callable[[DurableContext], T]",
        name: str | None = None,
        config: ChildConfig[T] | None = None,
    ) -> T:
        """Run `func` as one operation that has durable operations of its own; return its value.

        `func` uses the context that it is given, not this one. `name` defaults to that of a
        `@durable_with_child_context`. Raises `ChildContextError` when `func` raises.
        """
        refuse_coroutine_function(func)
        settings = config or ChildConfig[T]()
        identity = self._scope.identify(
            OperationType.CONTEXT,
            settings.sub_type or "RunInChildContext",
            name or original_name(func),
        )
        plan = ChildPlan(
            payloads=self._payloads(identity, settings.serdes or _EXTENDED_TYPES),
            summarize=settings.summary_generator,
            virtual=settings.is_virtual,
        )
        return cast("T", self._run_child(self._scope, identity, plan, func))

    def map(
        self,
        inputs: Sequence[U],
        func: "Callable[[DurableContext, U, int, Sequence[U]], T]",
        name: str | None = None,
        config: MapConfig[U] | None = None,
    ) -> BatchResult[T]:
        """Call `func(context, item, index, inputs)` for every item, side by side.

        A failing item fails nothing but itself: see `BatchResult.throw_if_error`. By default the
        first failure is the last thing that is waited for. `name` defaults to that of a decorated
        `func`; items are called `map-item-{index}` unless an `item_namer` names them.
        """
        refuse_coroutine_function(func)
        settings = config or MapConfig[U]()
        namer = settings.item_namer
        branches = [
            ParallelBranch(
                _on_item(func, item, index, inputs), None if namer is None else namer(item, index)
            )
            for index, item in enumerate(inputs)
        ]
        return self._batch(MAP, name or original_name(func), settings, branches)

    def parallel(
        self,
        functions: "Sequence[Callable[[DurableContext], T] | ParallelBranch[T]]",
        name: str | None = None,
        config: ParallelConfig | None = None,
    ) -> BatchResult[T]:
        """Call every function with a context of its own, side by side; see `map`.

        Branches are called `parallel-branch-{index}`, unless they are a `ParallelBranch` with a
        name.
        """
        branches: list[ParallelBranch[T]] = [
            ParallelBranch(function) if callable(function) else function for function in functions
        ]
        for branch in branches:
            refuse_coroutine_function(branch.func)
        return self._batch(PARALLEL, name, config or ParallelConfig(), branches)

    def _batch(
        self,
        words: BatchWords,
        name: str | None,
        settings: MapConfig[Any] | ParallelConfig,
        branches: Sequence[ParallelBranch[Any]],
    ) -> BatchResult[Any]:
        policy = CompletionPolicy(len(branches), settings.completion_config)
        policy.check()
        for branch in branches:
            check_name(branch.name)
        identity = self._scope.identify(OperationType.CONTEXT, words.sub_type, name)
        summary = large_result_summary(self._scope.turn.recorded(identity.id))

        def run(context: DurableContext) -> BatchResult[Any]:
            plan = BatchPlan(
                [
                    context._branch(
                        words.branch_identity(identity, index, branch.name), settings, branch
                    )
                    for index, branch in enumerate(branches)
                ],
                policy,
                settings.max_concurrency,
            )
            program = batch(plan) if summary is None else batch_again(plan, summary)
            return context._scope.perform(program)

        plan = ChildPlan(
            payloads=self._payloads(identity, settings.serdes or _EXTENDED_TYPES),
            summarize=functools.partial(summarize, words.kind, settings.summary_generator),
        )
        return cast("BatchResult[Any]", self._run_child(self._scope, identity, plan, run))

    def _branch(
        self,
        identity: Identity,
        settings: MapConfig[Any] | ParallelConfig,
        branch: ParallelBranch[Any],
    ) -> Branch:
        """Return a branch of this context's batch; it runs on a strand, or on the batch's own."""
        serdes = settings.item_serdes or settings.serdes or _EXTENDED_TYPES
        plan = ChildPlan(
            payloads=self._payloads(identity, serdes),
            virtual=settings.nesting_type is NestingType.FLAT,
        )

        def run(strand: Strand | None) -> Any:
            scope = self._scope if strand is None else self._scope.carried_by(strand)
            return scope.run(lambda: self._run_child(scope, identity, plan, branch.func))

        return Branch(identity.id, run, branch.name)

    def _run_child(
        self,
        scope: Scope,
        identity: Identity,
        plan: ChildPlan,
        func: "Callable[[DurableContext], Any]",
    ) -> Any:
        recorded = scope.recorded_context(identity, virtual=plan.virtual)
        inner = scope.below(identity, virtual=plan.virtual)
        context = DurableContext(inner, self._logger.get_logger())
        body = functools.partial(inner.run, functools.partial(func, context))
        return scope.perform(child(identity, recorded, plan, body))

    def _step(self, identity: Identity, plan: StepPlan, body: Callable[[int], Any]) -> Program[Any]:
        return step(identity, self._scope.recorded(identity), plan, body)

    def _run_step(self, identity: Identity, func: Callable[[StepContext], T], attempt: int) -> T:
        return func(StepContext(self._logger_of(identity, attempt), attempt))

    def _run_check(
        self,
        identity: Identity,
        check: Callable[[T, WaitForConditionCheckContext], T],
        attempt: int,
        state: T,
    ) -> T:
        logger = self._logger_of(identity, attempt)
        return check(state, WaitForConditionCheckContext(logger, attempt))

    def _logger_of(self, identity: Identity, attempt: int) -> Logger:
        extra = log_extra(
            self.execution_context.durable_execution_arn,
            parent_id=identity.parent_id,
            operation_name=identity.name,
            attempt=attempt,
            operation_id=identity.id,
        )
        return Logger(self._logger.get_logger(), extra)

    def _payloads(self, identity: Identity, serdes: SerDes[Any]) -> Payloads:
        context = SerDesContext(identity.id, self.execution_context.durable_execution_arn)
        return Payloads(serdes, context)

    def _wrap(self, logger: LoggerInterface) -> None:
        extra = log_extra(
            self.execution_context.durable_execution_arn, parent_id=self._scope.parent_id
        )
        self._logger = Logger(logger, extra, self.is_replaying)


def _on_item(
    func: Callable[[DurableContext, U, int, Sequence[U]], T],
    item: U,
    index: int,
    inputs: Sequence[U],
) -> Callable[[DurableContext], T]:
    def body(context: DurableContext) -> T:
        return func(context, item, index, inputs)

    return body


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
