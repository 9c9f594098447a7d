"""Durable calls made into programs: which operation it is, with every default filled in.

What a call means is decided here once, for handlers that block and for those that await. Ids are
allotted when a method is called, before anything is carried out. A `Shell` says how user code is
called and how programs are carried out inside of it.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Final, TypeVar

from perdure.context.driver import Shell
from perdure.context.handles import Created, CreatedWait, read
from perdure.context.instrumented import observed
from perdure.context.parallel_branch import ParallelBranch
from perdure.context.retry_block import tries
from perdure.context.wait_for_callback import submission, translated
from perdure.exceptions import ValidationError
from perdure.invocation.fibers import Strand
from perdure.invocation.scope import Scope
from perdure.operations.attempt import Attempt, Watch
from perdure.operations.batch import BatchPlan, Branch, batch, batch_again
from perdure.operations.batch_kinds import MAP, PARALLEL, BatchWords
from perdure.operations.callback import create_callback
from perdure.operations.child import ChildPlan, child, large_result_summary
from perdure.operations.composition import (
    Composition,
    EachOf,
    OneOf,
    decided,
    failure_of_branch,
    undisguised,
)
from perdure.operations.heartbeats import HeartbeatPlan
from perdure.operations.identity import Identity, check_name, idempotency_key
from perdure.operations.invoke import invoke, target_of
from perdure.operations.now import now
from perdure.operations.program import Program
from perdure.operations.step import StepPlan, step
from perdure.operations.wait import check_wait, create_wait, wait
from perdure.operations.wait_for_condition import ConditionPlan, wait_for_condition
from perdure.primitives.bound_function import known_as, original_name
from perdure.primitives.completion import CompletionPolicy
from perdure.primitives.duration import Duration
from perdure.primitives.logger import Logger, log_extra
from perdure.primitives.operation_contexts import (
    LoggerInterface,
    StepContext,
    WaitForConditionCheckContext,
)
from perdure.serdes.batch_result import BatchResult, summarize
from perdure.serdes.serializers import (
    ExtendedTypeSerDes,
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

_STEP: Final = StepConfig()  # made once, since making one checks it
_EXTENDED_TYPES: Final = ExtendedTypeSerDes()
_RETRIES: Final = RetryPresets.default()
_JSON: Final = JsonSerDes()
_PASS_THROUGH: Final = PassThroughSerDes()


class Calls:
    """The durable calls of one context."""

    def __init__(self, scope: Scope, shell: Shell, logger: LoggerInterface | None = None) -> None:
        self.scope = scope
        self.execution_arn = scope.turn.execution_arn
        self._shell = shell
        self.set_logger(logger or logging.getLogger())

    def set_logger(self, logger: LoggerInterface) -> None:
        """Send records to `logger` from now on."""
        extra = log_extra(self.execution_arn, parent_id=self.scope.parent_id)
        self.logger = Logger(logger, extra, lambda: self.scope.replaying)

    def step(
        self, func: Callable[[StepContext], Any], name: str | None, config: StepConfig | None
    ) -> Program[Any]:
        """Run `func` once to a recorded outcome."""
        settings = config or _STEP
        identity = self.scope.identify(
            OperationType.STEP, settings.sub_type or "Step", name or original_name(func)
        )
        serdes = settings.serdes or serdes_of_result(func) or _EXTENDED_TYPES
        payloads = self.payloads(identity, serdes)
        plan = StepPlan(
            semantics=settings.step_semantics,
            retry_strategy=settings.retry_strategy or _RETRIES,
            payloads=payloads,
            watch=self._watch,
            heartbeats=self._heartbeats(identity, payloads.context, settings.heartbeat_timeout),
            timeout_ms=None if settings.timeout is None else settings.timeout.to_milliseconds(),
        )
        body = partial(self._run_step, identity, func)
        return self.watched(identity, step(identity, self.scope.recorded(identity), plan, body))

    def wait(self, duration: Duration, name: str | None) -> Program[None]:
        """Let time pass."""
        wait_ms = check_wait(duration)
        identity = self.scope.identify(OperationType.WAIT, "Wait", name)
        return self.watched(identity, wait(identity, self.scope.recorded(identity), wait_ms))

    def create_wait(
        self, duration: Duration, name: str | None
    ) -> tuple[CreatedWait, Program[None]]:
        """Let time pass beside other things; the program returns when it has begun."""
        wait_ms = check_wait(duration)
        identity = self.scope.identify(OperationType.WAIT, "Wait", name)
        program = create_wait(identity, self.scope.recorded(identity), wait_ms)
        return CreatedWait(self, identity), self.watched(identity, program)

    def now(self, name: str | None) -> Program[datetime]:
        """Ask the service what time it is."""
        identity = self.scope.identify(OperationType.STEP, "Now", name)
        return self.watched(identity, now(identity, self.scope.recorded(identity)))

    def create_callback(
        self, name: str | None, config: CallbackConfig | None
    ) -> tuple[Created, Program[str]]:
        """Create a callback; the program returns its id."""
        settings = config or CallbackConfig()
        identity = self.scope.identify(
            OperationType.CALLBACK, settings.sub_type or "Callback", name
        )
        created = Created(self, identity, settings.serdes or _PASS_THROUGH)
        creation = create_callback(identity, self.scope.recorded(identity), settings)
        return created, self.watched(identity, creation)

    def wait_for_callback(
        self,
        submitter: Callable[..., Any],
        name: str | None,
        config: WaitForCallbackConfig | None,
    ) -> Program[Any]:
        """Hand a callback's id out, and await its result."""
        settings = config or WaitForCallbackConfig()
        title = name or original_name(submitter)
        child_config = ChildConfig[Any](serdes=settings.serdes, sub_type="WaitForCallback")

        def submit(calls: Calls) -> Program[Any]:
            return submission(
                submitter,
                title,
                settings,
                create_callback=calls.create_callback,
                step=calls.step,
            )

        return translated(self._child_of(submit, title, child_config))

    def wait_for_condition(
        self,
        check: Callable[[Any, WaitForConditionCheckContext], Any],
        config: WaitForConditionConfig[Any],
        name: str | None,
    ) -> Program[Any]:
        """Poll until the strategy is content."""
        identity = self.scope.identify(OperationType.STEP, "WaitForCondition", name)
        plan = ConditionPlan(
            initial_state=config.initial_state,
            wait_strategy=config.wait_strategy,
            payloads=self.payloads(
                identity, config.serdes or serdes_of_result(check) or _EXTENDED_TYPES
            ),
        )
        body = partial(self._run_check, identity, self._shell.leaf(check))
        program = wait_for_condition(identity, self.scope.recorded(identity), plan, body)
        return self.watched(identity, program)

    def invoke(
        self,
        function_name: str,
        payload: Any,
        name: str | None,
        config: InvokeConfig[Any, Any] | None,
    ) -> Program[Any]:
        """Run another function."""
        settings = config or InvokeConfig[Any, Any]()
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
        return read(self.watched(identity, program), result)

    def child(
        self, func: Callable[[Any], Any], name: str | None, config: ChildConfig[Any] | None
    ) -> Program[Any]:
        """Run `func(context)` as one operation."""
        settings = config or ChildConfig[Any]()
        title = name or original_name(func)
        return self._child(settings, title, known_as(func, lambda calls: func(calls.context())))

    def with_retry(
        self, func: Callable[[Any, int], Any], config: WithRetryConfig[Any], name: str | None
    ) -> Program[Any]:
        """Try `func(context, attempt)` until it does not raise."""
        strategy = config.retry_strategy or create_retry_strategy()

        def block(calls: Calls) -> Program[Any]:
            return tries(
                partial(func, calls.context()),
                strategy,
                name,
                wait=calls.wait,
                now_ms=calls.scope.turn.now_ms,
            )

        if not config.wrap_with_run_in_child_context:
            return block(self)
        settings = config.child_context_config or ChildConfig[Any]()
        return self._child_of(known_as(func, block), name, settings)

    def map(
        self,
        inputs: Sequence[Any],
        func: Callable[..., Any],
        name: str | None,
        config: MapConfig[Any] | None,
    ) -> Program[Any]:
        """Call `func(context, item, index, inputs)` for every item."""
        settings = config or MapConfig[Any]()
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
        branches: Sequence[ParallelBranch[Any]],
        name: str | None,
        config: ParallelConfig | None,
    ) -> Program[Any]:
        """Call every function with a context of its own."""
        return self._batch(PARALLEL, name, config or ParallelConfig(), branches)

    def context(self) -> Any:
        """Return the context that user code is given for these calls."""
        return self._shell.context(self.scope, self.logger.get_logger())

    def compose(
        self,
        composition: Composition,
        branches: Sequence[ParallelBranch[Any]],
        name: str | None,
        config: BranchesConfig | None,
    ) -> Program[Any]:
        """Call every function with a context of its own, and return what the composition makes."""
        settings, words = config or BranchesConfig(), composition.words
        if not branches and not composition.takes_none:
            raise ValidationError(f"{words.sub_type} needs one branch at least.")
        for branch in branches:
            check_name(branch.name)
        identity = self.scope.identify(OperationType.CONTEXT, words.sub_type, name)
        turn = self.scope.turn
        summary = large_result_summary(turn.recorded(identity.id))
        kept: list[BatchResult[Any]] = []

        def run(calls: Calls) -> Any:
            plan = calls._composition_plan(composition, identity, settings, branches)
            program = batch(plan) if summary is None else batch_again(plan, summary)
            cancelled = partial(turn.open_waits_below, identity.id)
            return self._shell.perform(
                calls.scope, decided(program, composition, cancelled, kept.append)
            )

        plan = ChildPlan(
            payloads=self.payloads(identity, _composed_serdes(composition, settings, branches)),
            summarize=lambda _: summarize(words.kind, None, kept[-1]),
            failure=failure_of_branch,
        )
        return undisguised(self._nest(identity, plan, run))

    def watched(
        self, identity: Identity, program: Program[T], *, virtual: bool = False
    ) -> Program[T]:
        """Return the program of an operation, which plugins hear of if there are any."""
        turn = self.scope.turn
        if turn.plugins is None:
            return program
        return observed(turn.plugins, identity, turn.recorded, program, virtual=virtual)

    def payloads(self, identity: Identity, serdes: SerDes[Any]) -> Payloads:
        """Return how the values of an operation are written."""
        return Payloads(serdes, SerDesContext(identity.id, self.execution_arn))

    def _child_of(
        self,
        program: "Callable[[Calls], Program[Any]]",
        name: str | None,
        settings: ChildConfig[Any],
    ) -> Program[Any]:
        def body(calls: Calls) -> Any:
            return self._shell.perform(calls.scope, program(calls))

        return self._child(settings, name, known_as(program, body))

    def _child(
        self, settings: ChildConfig[Any], name: str | None, body: "Callable[[Calls], Any]"
    ) -> Program[Any]:
        identity = self.scope.identify(
            OperationType.CONTEXT, settings.sub_type or "RunInChildContext", name
        )
        plan = ChildPlan(
            payloads=self.payloads(
                identity, settings.serdes or serdes_of_result(body) or _EXTENDED_TYPES
            ),
            summarize=settings.summary_generator,
            virtual=settings.is_virtual,
        )
        return self._nest(identity, plan, body)

    def _nest(
        self, identity: Identity, plan: ChildPlan, body: "Callable[[Calls], Any]"
    ) -> Program[Any]:
        recorded = self.scope.recorded_context(identity, virtual=plan.virtual)
        inner = self.scope.below(identity, virtual=plan.virtual)
        calls = Calls(inner, self._shell, self.logger.get_logger())
        run = partial(self._shell.enter, inner, partial(body, calls))
        program = child(identity, recorded, plan, run, self.scope.turn.result_bytes_max)
        return self.watched(identity, program, virtual=plan.virtual)

    def _batch(
        self,
        words: BatchWords,
        name: str | None,
        settings: MapConfig[Any] | ParallelConfig,
        branches: Sequence[ParallelBranch[Any]],
    ) -> Program[Any]:
        policy = CompletionPolicy(len(branches), settings.completion_config)
        policy.check()
        for branch in branches:
            check_name(branch.name)
        identity = self.scope.identify(OperationType.CONTEXT, words.sub_type, name)
        summary = large_result_summary(self.scope.turn.recorded(identity.id))

        def run(calls: Calls) -> Any:
            plan = BatchPlan(
                [
                    calls._branch(
                        words.branch_identity(identity, index, branch.name), settings, branch
                    )
                    for index, branch in enumerate(branches)
                ],
                policy,
                settings.max_concurrency,
            )
            program = batch(plan) if summary is None else batch_again(plan, summary)
            return self._shell.perform(calls.scope, program)

        typed = None if settings.item_serdes else serdes_of_batch([b.func for b in branches])
        plan = ChildPlan(
            payloads=self.payloads(identity, settings.serdes or typed or _EXTENDED_TYPES),
            summarize=partial(summarize, words.kind, settings.summary_generator),
        )
        return self._nest(identity, plan, run)

    def _composition_plan(
        self,
        composition: Composition,
        above: Identity,
        settings: BranchesConfig,
        branches: Sequence[ParallelBranch[Any]],
    ) -> BatchPlan:
        made = ParallelConfig(serdes=settings.serdes, item_serdes=settings.item_serdes)
        made_branches = [
            self._branch(composition.words.branch_identity(above, index, each.name), made, each)
            for index, each in enumerate(branches)
        ]
        policy = CompletionPolicy(len(branches), composition.policy)
        recorded = [self.scope.turn.recorded(branch.operation_id) for branch in made_branches]
        ended = sorted(
            (each.ended_ms, index)
            for index, each in enumerate(recorded)
            if each is not None and each.ended_ms is not None
        )
        return BatchPlan(
            made_branches, policy, settings.max_concurrency, [index for _, index in ended]
        )

    def _branch(
        self,
        identity: Identity,
        settings: MapConfig[Any] | ParallelConfig,
        branch: ParallelBranch[Any],
    ) -> Branch:
        """Return a branch of this context's batch; it runs on a strand, or on the batch's own."""
        given = settings.item_serdes or settings.serdes
        serdes = given or serdes_of_result(branch.func) or _EXTENDED_TYPES
        plan = ChildPlan(
            payloads=self.payloads(identity, serdes),
            virtual=settings.nesting_type is NestingType.FLAT,
        )

        def run(strand: Strand | None) -> Any:
            scope = self.scope if strand is None else self.scope.carried_by(strand)
            calls = Calls(scope, self._shell, self.logger.get_logger())

            def call() -> Any:
                program = calls._nest(identity, plan, lambda inner: branch.func(inner.context()))
                return self._shell.perform(scope, program)

            return self._shell.enter(scope, call)

        return Branch(identity.id, run, branch.name)

    def _heartbeats(
        self, identity: Identity, context: SerDesContext, timeout: Duration | None
    ) -> HeartbeatPlan:
        def record(payload: str | None) -> "Future[None] | None":
            update = identity.update(OperationAction.HEARTBEAT, payload=payload)
            return self.scope.turn.send_if_open(self.scope.strand, update)

        timeout_ms = None if timeout is None else timeout.to_milliseconds()
        return HeartbeatPlan(Payloads(_EXTENDED_TYPES, context), record, timeout_ms)

    @cached_property
    def _watch(self) -> Watch:
        scope, turn = self.scope, self.scope.turn
        return Watch(turn.now_ms, turn.ticks_ms, turn.since_ms, lambda: turn.is_over(scope.strand))

    def _run_step(self, identity: Identity, func: Callable[..., Any], attempt: Attempt) -> Any:
        number = attempt.number
        key = idempotency_key(self.execution_arn, identity.id)
        context = StepContext(self._logger_of(identity, number), number, key, attempt)
        return self._shell.leaf(func, attempt)(context)

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
        return Logger(self.logger.get_logger(), extra)


def _composed_serdes(
    composition: Composition, settings: BranchesConfig, branches: Sequence[ParallelBranch[Any]]
) -> SerDes[Any]:
    """Return how the value of a composition is written: as those of its branches are."""
    given = settings.item_serdes or settings.serdes
    each = [given or serdes_of_result(branch.func) or _EXTENDED_TYPES for branch in branches]
    if not composition.takes_none:
        return OneOf([settings.serdes] * len(each) if settings.serdes else each)
    if settings.serdes or settings.item_serdes or all(one is _EXTENDED_TYPES for one in each):
        return settings.serdes or _EXTENDED_TYPES
    return EachOf(each)


def _on_item(
    func: Callable[..., Any], item: Any, index: int, inputs: Sequence[Any]
) -> Callable[[Any], Any]:
    return known_as(func, lambda context: func(context, item, index, inputs))
