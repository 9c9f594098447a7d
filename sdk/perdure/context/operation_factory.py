"""Turns a method call of a context into an operation: identity, settings with defaults, program.

What a call means is decided here once, for handlers that block and for those that await. Ids are
assigned when a method is called, before any effect is performed. A `Driver` calls user code, and
drives the programs inside it.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, Final, TypeVar

from perdure.context import arguments
from perdure.context.branch_serdes import EXTENDED_TYPES, branch_serdes, composed_serdes
from perdure.context.driver import Driver
from perdure.context.handles import CallbackHandle, WaitHandle, decoded
from perdure.context.instrumented import instrumented
from perdure.context.parallel_branch import ParallelBranch, branches_of_map
from perdure.context.retry_block import retry_block
from perdure.context.wait_for_callback import unwrap_submission_error, wait_for_callback
from perdure.exceptions import ValidationError
from perdure.invocation.fibers import Fiber
from perdure.invocation.scope import Scope
from perdure.operations.attempt import Attempt, AttemptClock
from perdure.operations.batch import BatchPlan, BranchPlan, batch, rebuild_batch
from perdure.operations.batch_kinds import MAP, PARALLEL, BatchKind
from perdure.operations.callback import create_callback
from perdure.operations.child import ChildPlan, child, large_result_summary
from perdure.operations.composition import (
    Composition,
    compose,
    failure_of_branch,
    recorded_progress,
    unwrap_any_of_error,
)
from perdure.operations.heartbeats import HeartbeatPlan
from perdure.operations.identity import Identity, check_name, idempotency_key
from perdure.operations.invoke import invoke, target_of
from perdure.operations.now import now
from perdure.operations.program import Program
from perdure.operations.step import StepPlan, step
from perdure.operations.wait import check_wait, create_wait, wait
from perdure.operations.wait_for_condition import ConditionPlan, wait_for_condition
from perdure.primitives.bound_function import with_annotations_of
from perdure.primitives.completion import CompletionPolicy
from perdure.primitives.duration import Duration
from perdure.primitives.logger import Logger, log_extra, set_log_fields, with_log_fields
from perdure.primitives.operation_contexts import (
    LoggerInterface,
    StepContext,
    WaitForConditionCheckContext,
)
from perdure.serdes.batch_result import BatchResult, summarize
from perdure.serdes.serializers import (
    JsonSerDes,
    PassThroughSerDes,
    Payloads,
    SerDes,
    SerDesContext,
)
from perdure.settings.operations import (
    BranchesConfig,
    CallbackConfig,
    ChildConfig,
    InvokeConfig,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
    WithRetryConfig,
)
from perdure.settings.retry_strategies import RetryPresets, create_retry_strategy
from perdure.settings.wait_strategies import WaitForConditionConfig
from perdure.typed.serdes import serdes_of_batch, serdes_of_result
from perdure_core.model import OperationAction, OperationType

T = TypeVar("T")

_RETRIES: Final = RetryPresets.default()
_JSON: Final = JsonSerDes()
_PASS_THROUGH: Final = PassThroughSerDes()


class OperationFactory:
    """Creates the operations of one context."""

    def __init__(self, scope: Scope, driver: Driver, logger: LoggerInterface | None = None) -> None:
        self.scope = scope
        self.execution_arn = scope.invocation.execution_arn
        self._driver = driver
        self.set_logger(logger or logging.getLogger())

    def set_logger(self, logger: LoggerInterface) -> None:
        """Send records to `logger` from now on."""
        extra = log_extra(self.execution_arn, parent_id=self.scope.parent_id)
        self.logger = Logger(logger, extra, lambda: self.scope.replaying)

    def step(
        self, func: Callable[[StepContext], Any], name: str | None, config: StepConfig | None
    ) -> Program[Any]:
        """Return the program of a step."""
        arguments.check_function(self.scope, func, "step")
        settings = arguments.config_of(config, arguments.STEP, "step")
        sub_type = settings.sub_type or "Step"
        title = self.scope.title(name, sub_type, func)
        identity = self.scope.identify(OperationType.STEP, sub_type, title)
        serdes = settings.serdes or serdes_of_result(func) or EXTENDED_TYPES
        payloads = self.payloads(identity, serdes)
        plan = StepPlan(
            semantics=settings.step_semantics,
            retry_strategy=settings.retry_strategy or _RETRIES,
            payloads=payloads,
            clock=self._attempt_clock,
            heartbeats=self._heartbeats(identity, payloads.context, settings.heartbeat_timeout),
            timeout_ms=None if settings.timeout is None else settings.timeout.to_milliseconds(),
        )
        body = partial(self._run_step, identity, func)
        return self.instrumented(
            identity, step(identity, self.scope.recorded(identity), plan, body)
        )

    def wait(self, duration: Duration | timedelta, name: str | None) -> Program[None]:
        """Return the program of a wait."""
        wait_ms = check_wait(duration)
        identity = self.scope.identify(OperationType.WAIT, "Wait", name)
        return self.instrumented(identity, wait(identity, self.scope.recorded(identity), wait_ms))

    def create_wait(
        self, duration: Duration | timedelta, name: str | None
    ) -> tuple[WaitHandle, Program[None]]:
        """Return a wait, and the program that starts it."""
        wait_ms = check_wait(duration)
        identity = self.scope.identify(OperationType.WAIT, "Wait", name)
        program = create_wait(identity, self.scope.recorded(identity), wait_ms)
        return WaitHandle(self, identity), self.instrumented(identity, program)

    def now(self, name: str | None) -> Program[datetime]:
        """Return the program that reads the recorded clock."""
        identity = self.scope.identify(OperationType.STEP, "Now", name)
        return self.instrumented(identity, now(identity, self.scope.recorded(identity)))

    def create_callback(
        self, name: str | None, config: CallbackConfig | None
    ) -> tuple[CallbackHandle, Program[str]]:
        """Return a callback, and the program that creates it and returns its id."""
        settings = arguments.config_of(config, arguments.CALLBACK, "create_callback")
        identity = self.scope.identify(
            OperationType.CALLBACK, settings.sub_type or "Callback", name
        )
        created = CallbackHandle(self, identity, settings.serdes or _PASS_THROUGH)
        creation = create_callback(identity, self.scope.recorded(identity), settings)
        return created, self.instrumented(identity, creation)

    def wait_for_callback(
        self,
        submitter: Callable[..., Any],
        name: str | None,
        config: WaitForCallbackConfig | None,
    ) -> Program[Any]:
        """Return the program that creates a callback, submits its id and awaits its result."""
        arguments.check_function(self.scope, submitter, "wait_for_callback")
        settings = arguments.config_of(config, arguments.WAIT_FOR_CALLBACK, "wait_for_callback")
        title = self.scope.title(name, "WaitForCallback", submitter)
        child_config = ChildConfig[Any](serdes=settings.serdes, sub_type="WaitForCallback")

        def submit(inner: OperationFactory) -> Program[Any]:
            return wait_for_callback(
                submitter,
                title,
                settings,
                create_callback=inner.create_callback,
                step=inner.step,
            )

        return unwrap_submission_error(self._child_of_program(submit, title, child_config))

    def wait_for_condition(
        self,
        check: Callable[[Any, WaitForConditionCheckContext], Any],
        config: WaitForConditionConfig[Any],
        name: str | None,
    ) -> Program[Any]:
        """Return the program that polls `check` until the strategy stops."""
        arguments.check_condition(self.scope, check, config)
        identity = self.scope.identify(OperationType.STEP, "WaitForCondition", name)
        serdes = config.serdes or serdes_of_result(check) or EXTENDED_TYPES
        plan = ConditionPlan(
            config.initial_state,
            config.wait_strategy,
            self.payloads(identity, serdes),
            self._attempt_clock.monotonic_ms,
        )
        body = partial(self._run_check, identity, self._driver.user_function(check))
        program = wait_for_condition(identity, self.scope.recorded(identity), plan, body)
        return self.instrumented(identity, program)

    def invoke(
        self,
        function_name: str,
        payload: Any,
        name: str | None,
        config: InvokeConfig[Any, Any] | None,
    ) -> Program[Any]:
        """Return the program that runs another function."""
        settings = arguments.config_of(config, arguments.INVOKE, "invoke")
        target = target_of(function_name)
        identity = self.scope.identify(OperationType.CHAINED_INVOKE, "ChainedInvoke", name)
        written = self.payloads(identity, settings.serdes_payload or _JSON)
        program = invoke(
            identity,
            self.scope.recorded(identity),
            target,
            lambda: written.write(payload),
            settings.tenant_id,
        )
        result = self.payloads(identity, settings.serdes_result or _JSON)
        return decoded(self.instrumented(identity, program), result)

    def child(
        self, func: Callable[[Any], Any], name: str | None, config: ChildConfig[Any] | None
    ) -> Program[Any]:
        """Return the program that runs `func(context)` as one operation."""
        arguments.check_function(self.scope, func, "run_in_child_context")
        settings = arguments.config_of(config, arguments.CHILD, "run_in_child_context")
        title = self.scope.title(name, _child_sub_type(settings), func)
        return self._child(
            settings,
            title,
            with_annotations_of(func, lambda inner: func(inner.context())),
        )

    def with_retry(
        self, func: Callable[[Any, int], Any], config: WithRetryConfig[Any], name: str | None
    ) -> Program[Any]:
        """Return the program that retries `func(context, attempt)` until it does not raise."""
        strategy = config.retry_strategy or create_retry_strategy()
        arguments.check_function(self.scope, func, "with_retry")
        config = arguments.config_of(config, arguments.WITH_RETRY, "with_retry")
        settings = config.child_context_config or arguments.CHILD
        wrapped = config.wrap_with_run_in_child_context
        title = self.scope.title(name, _child_sub_type(settings) if wrapped else None)

        def block(inner: OperationFactory) -> Program[Any]:
            return retry_block(
                partial(func, inner.context()),
                strategy,
                title,
                wait=inner.wait,
                now_ms=inner.scope.invocation.now_ms,
            )

        if not wrapped:
            check_name(title)
            return block(self)
        return self._child_of_program(with_annotations_of(func, block), title, settings)

    def map(
        self,
        inputs: Sequence[Any],
        func: Callable[..., Any],
        name: str | None,
        config: MapConfig[Any] | None,
    ) -> Program[Any]:
        """Return the program that calls `func(context, item, index, inputs)` for every item."""
        arguments.check_inputs(inputs)
        arguments.check_function(self.scope, func, "map")
        settings = arguments.config_of(config, arguments.MAP, "map")
        branches = branches_of_map(inputs, func, settings.item_namer)
        return self._batch(MAP, self.scope.title(name, MAP.sub_type, func), settings, branches)

    def parallel(
        self,
        branches: Sequence[ParallelBranch[Any]],
        name: str | None,
        config: ParallelConfig | None,
    ) -> Program[Any]:
        """Return the program that calls every function with a context of its own."""
        settings = arguments.config_of(config, arguments.PARALLEL, "parallel")
        arguments.check_branches(self.scope, branches, "parallel")
        return self._batch(PARALLEL, name, settings, branches)

    def context(self) -> Any:
        """Return the context that user code receives for these operations."""
        return self._driver.context(self.scope, self.logger.get_logger())

    def compose(
        self,
        composition: Composition,
        branches: Sequence[ParallelBranch[Any]],
        name: str | None,
        config: BranchesConfig | None,
    ) -> Program[Any]:
        """Return the program that runs the branches, and selects the value of the composition."""
        kind, call = composition.kind, composition.call
        settings = arguments.config_of(config, arguments.BRANCHES, call)
        arguments.check_branches(self.scope, branches, call)
        if not branches and not composition.allows_no_branches:
            raise ValidationError(f"{kind.sub_type} must have at least one branch.")
        self.scope.check_branch_names((each.name for each in branches), kind.sub_type)
        identity = self.scope.identify(OperationType.CONTEXT, kind.sub_type, name)
        invocation = self.scope.invocation
        summary = large_result_summary(invocation.recorded(identity.id))
        results: list[BatchResult[Any]] = []

        def run(inner: OperationFactory) -> Any:
            plan = inner._composition_plan(composition, identity, settings, branches)
            program = batch(plan) if summary is None else rebuild_batch(plan, summary)
            cancelled = partial(invocation.open_waits_of, identity.id)
            return self._driver.drive(
                inner.scope, compose(program, composition, cancelled, results.append)
            )

        plan = ChildPlan(
            payloads=self.payloads(identity, composed_serdes(composition, settings, branches)),
            summarize=lambda _: summarize(kind.summary_type, None, results[-1]),
            failure=failure_of_branch,
        )
        return unwrap_any_of_error(self._child_program(identity, plan, run))

    def instrumented(
        self, identity: Identity, program: Program[T], *, virtual: bool = False
    ) -> Program[T]:
        """Return the program of an operation, instrumented if there are plugins."""
        invocation = self.scope.invocation
        if invocation.plugins is None:
            return program
        return instrumented(
            invocation.plugins, identity, invocation.recorded, program, virtual=virtual
        )

    def payloads(self, identity: Identity, serdes: SerDes[Any]) -> Payloads:
        """Return the payload codec of an operation: its serializer in its place."""
        return Payloads(serdes, SerDesContext(identity.id, self.execution_arn))

    def _child_of_program(
        self,
        program: "Callable[[OperationFactory], Program[Any]]",
        name: str | None,
        settings: ChildConfig[Any],
    ) -> Program[Any]:
        def body(inner: OperationFactory) -> Any:
            return self._driver.drive(inner.scope, program(inner))

        return self._child(settings, name, with_annotations_of(program, body))

    def _child(
        self,
        settings: ChildConfig[Any],
        name: str | None,
        body: "Callable[[OperationFactory], Any]",
    ) -> Program[Any]:
        identity = self.scope.identify(OperationType.CONTEXT, _child_sub_type(settings), name)
        plan = ChildPlan(
            payloads=self.payloads(
                identity, settings.serdes or serdes_of_result(body) or EXTENDED_TYPES
            ),
            summarize=settings.summary_generator,
            virtual=settings.is_virtual,
        )
        return self._child_program(identity, plan, body)

    def _child_program(
        self, identity: Identity, plan: ChildPlan, body: "Callable[[OperationFactory], Any]"
    ) -> Program[Any]:
        recorded = self.scope.recorded_context(identity, virtual=plan.virtual)
        inner = self.scope.child(identity, virtual=plan.virtual)
        operations = OperationFactory(inner, self._driver, self.logger.get_logger())
        extra = log_extra(self.execution_arn, parent_id=inner.parent_id)
        call = with_log_fields(extra, partial(body, operations))
        run = partial(self._driver.run_body, inner, call)
        program = child(identity, recorded, plan, run, self.scope.invocation.result_bytes_max)
        return self.instrumented(identity, program, virtual=plan.virtual)

    def _batch(
        self,
        kind: BatchKind,
        name: str | None,
        settings: MapConfig[Any] | ParallelConfig,
        branches: Sequence[ParallelBranch[Any]],
    ) -> Program[Any]:
        policy = CompletionPolicy(len(branches), settings.completion_config)
        policy.check()
        self.scope.check_branch_names((each.name for each in branches), kind.sub_type)
        identity = self.scope.identify(OperationType.CONTEXT, kind.sub_type, name)
        summary = large_result_summary(self.scope.invocation.recorded(identity.id))

        def run(inner: OperationFactory) -> Any:
            plan = BatchPlan(
                [
                    inner._branch(
                        kind.branch_identity(identity, index, branch.name), settings, branch
                    )
                    for index, branch in enumerate(branches)
                ],
                policy,
                settings.max_concurrency,
            )
            program = batch(plan) if summary is None else rebuild_batch(plan, summary)
            return self._driver.drive(inner.scope, program)

        typed = None if settings.item_serdes else serdes_of_batch([b.func for b in branches])
        plan = ChildPlan(
            payloads=self.payloads(identity, settings.serdes or typed or EXTENDED_TYPES),
            summarize=partial(summarize, kind.summary_type, settings.summary_generator),
        )
        return self._child_program(identity, plan, run)

    def _composition_plan(
        self,
        composition: Composition,
        above: Identity,
        settings: BranchesConfig,
        branches: Sequence[ParallelBranch[Any]],
    ) -> BatchPlan:
        config = ParallelConfig(serdes=settings.serdes, item_serdes=settings.item_serdes)
        plans = [
            self._branch(composition.kind.branch_identity(above, index, each.name), config, each)
            for index, each in enumerate(branches)
        ]
        policy = CompletionPolicy(len(branches), composition.policy)
        recorded = [self.scope.invocation.recorded(branch.operation_id) for branch in plans]
        return BatchPlan(plans, policy, settings.max_concurrency, *recorded_progress(recorded))

    def _branch(
        self,
        identity: Identity,
        settings: MapConfig[Any] | ParallelConfig,
        branch: ParallelBranch[Any],
    ) -> BranchPlan:
        """Return a branch of this context's batch; it runs on its own fiber, or on the batch's."""
        serdes = branch_serdes(settings, branch)
        plan = ChildPlan(
            payloads=self.payloads(identity, serdes),
            virtual=settings.nesting_type is NestingType.FLAT,
        )

        def run(fiber: Fiber | None) -> Any:
            scope = self.scope if fiber is None else self.scope.on_fiber(fiber)
            operations = OperationFactory(scope, self._driver, self.logger.get_logger())

            def call() -> Any:
                program = operations._child_program(
                    identity, plan, lambda inner: branch.func(inner.context())
                )
                return self._driver.drive(scope, program)

            return self._driver.run_body(scope, call)

        return BranchPlan(identity.id, run, branch.name)

    def _heartbeats(
        self, identity: Identity, context: SerDesContext, timeout: Duration | None
    ) -> HeartbeatPlan:
        def record(payload: str | None) -> "Future[None] | None":
            update = identity.update(OperationAction.HEARTBEAT, payload=payload)
            return self.scope.invocation.send_if_open(self.scope.fiber, update)

        timeout_ms = None if timeout is None else timeout.to_milliseconds()
        return HeartbeatPlan(Payloads(EXTENDED_TYPES, context), record, timeout_ms)

    @cached_property
    def _attempt_clock(self) -> AttemptClock:
        scope, invocation = self.scope, self.scope.invocation
        return AttemptClock(
            invocation.now_ms,
            invocation.monotonic_ms,
            invocation.elapsed_since_ms,
            lambda: invocation.is_cancelled(scope.fiber),
        )

    def _run_step(self, identity: Identity, func: Callable[..., Any], attempt: Attempt) -> Any:
        number = attempt.number
        key = idempotency_key(self.execution_arn, identity.id)
        context = StepContext(self._logger_of(identity, number), number, key, attempt)
        return self._driver.user_function(func, attempt)(context)

    def _run_check(
        self, identity: Identity, check: Callable[..., Any], attempt: int, state: Any
    ) -> Any:
        logger = self._logger_of(identity, attempt)
        key = idempotency_key(self.execution_arn, identity.id)
        return check(state, WaitForConditionCheckContext(logger, attempt, key))

    def _logger_of(self, identity: Identity, attempt: int) -> Logger:
        extra = log_extra(
            self.execution_arn,
            parent_id=identity.parent_id,
            operation_name=identity.name,
            attempt=attempt,
            operation_id=identity.id,
        )
        set_log_fields(extra)  # this runs in the body's own copy of the context variables
        return Logger(self.logger.get_logger(), extra)


def _child_sub_type(settings: ChildConfig[Any]) -> str:
    return settings.sub_type or "RunInChildContext"
