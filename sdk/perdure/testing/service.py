"""Service in memory: the real core decides, and this applies its decisions and advances time.

`changed` guards everything here, and is notified after every change. Waiting advances time; virtual
time advances only while no invocation runs, so results do not depend on the speed of the machine.
Messages between executions are delivered at once, in order.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from perdure.invocation.scope import step_running
from perdure.testing.clock import Clock, VirtualClock
from perdure.testing.failures import Crash, DurableFunctionsTestError
from perdure.testing.hosting import Execution, ExecutionTree
from perdure.testing.timeline import timeline
from perdure.worker_api import RegisteredFunction
from perdure_core import commands, execution
from perdure_core.decision import ReportEnd, StartChild
from perdure_core.fold import apply
from perdure_core.identity import ExecutionIdentity
from perdure_core.limits import EXECUTION_TIMEOUT_S_MAX, PAYLOAD_BYTES_MAX
from perdure_core.model import CallbackDetails, ErrorObject, OperationStatus, OperationType
from perdure_core.payload import text_of
from perdure_core.refusals import Invalid
from perdure_core.state import is_open, waiting_for, wants_task
from perdure_core.validation import check_tenancy

NAMESPACE: Final = "test"
# In a row. The service would retry for as long as the execution may last; a test must fail.
INVOCATION_FAILURES_MAX: Final = 50
CLOSE_S_MAX: Final = 1.0

RunInvocation = Callable[["InMemoryService", Execution], None]


class InMemoryService:
    """All executions of one test. `run_invocation` runs one invocation to its end."""

    def __init__(self, clock: Clock, run_invocation: RunInvocation, *, always_replay: bool) -> None:
        self.clock = clock
        self.always_replay = always_replay
        self.changed = threading.Condition()
        self.functions: dict[str, RegisteredFunction] = {}
        self.callbacks: dict[str, tuple[Execution, str]] = {}
        self.executions: dict[str, Execution] = {}
        self.closed = False
        # Larger results of contexts and batches are rebuilt from their children.
        self.result_bytes_max = PAYLOAD_BYTES_MAX
        self._run_invocation = run_invocation
        self._alive: dict[str, Execution] = {}
        self._outbox: deque[StartChild | ReportEnd] = deque()

    def start(
        self,
        begin: commands.Start,
        function: RegisteredFunction,
        crashes: dict[int, Crash],
        tree: ExecutionTree | None = None,
    ) -> Execution:
        """Start an execution. Raises the core's `Invalid`."""
        check_tenancy(begin.tenant_id, isolated=function.settings.tenant_isolation)
        with self.changed:
            record = execution.begin(begin, self.clock.now_ms())
            identity = ExecutionIdentity(
                begin.namespace, begin.function, begin.name, begin.execution_id
            )
            state = apply(None, record)
            started = Execution(
                function, identity, state, [record], tree or ExecutionTree(), crashes
            )
            self.executions[begin.execution_id] = started
            self._alive[begin.execution_id] = started
            self._offer(started)
            return started

    def command(self, target: Execution, command: commands.Command) -> None:
        """Apply the core's decision on a command. Raises the core's refusals."""
        with self.changed:
            self._command(target, command)
            while self._outbox:
                self._send(self._outbox.popleft())
            self.changed.notify_all()

    def returned(self, target: Execution, command: commands.Command) -> None:
        """Note that an invocation has ended. Raises the core's refusals."""
        with self.changed:
            target.running = target.tree.busy = False
            self.changed.notify_all()
            self.command(target, command)
            self._begin_next(target.tree)
            if target.state.invocation_failures >= INVOCATION_FAILURES_MAX:
                target.problem = DurableFunctionsTestError(
                    f"{INVOCATION_FAILURES_MAX} invocations in a row failed.\n"
                    f"{timeline(target.history())}"
                )

    def wait(self, done: Callable[[], bool], timeout_s: float, describe: Callable[[], str]) -> None:
        """Advance time until `done`.

        Raises `TimeoutError` after `timeout_s` real seconds, `DurableFunctionsTestError` when it
        can never be done.
        """
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while not done():
                self._raise_problem()
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(f"{describe()} took longer than {timeout_s} s of real time.")
                if not self._pass_time(describe):
                    self.changed.wait(min(left_s, self._due_in_s()))

    def skip_to(self, to_ms: int) -> None:
        """Advance virtual time up to a time, and run all that becomes due on the way.

        When the body of a step calls this, it does not wait for its own end.
        """
        with self.changed:
            self._wait_idle()
            while (due_ms := self._next_due_ms()) is not None and due_ms <= to_ms:
                self._jump(due_ms)
                self._wait_idle()
            self._jump(to_ms)
            self._wait_idle()

    def fire_due(self) -> None:
        """Run all that is due by now."""
        now_ms = self.clock.now_ms()
        for each in list(self._alive.values()):
            due_ms = each.state.alarms.next_due_ms()
            if due_ms is not None and due_ms <= now_ms:
                self.command(each, commands.AlarmDue())

    def close(self) -> None:
        """Start no more invocations, and wait briefly for those that run."""
        with self.changed:
            self.closed = True
            self.changed.wait_for(lambda: not self._busy(), CLOSE_S_MAX)

    def explain(self) -> str:
        """Return what each execution that has not ended waits for, as text."""
        return "\n".join(_explain(each) for each in self._alive.values() if is_open(each.state))

    def _command(self, target: Execution, command: commands.Command) -> None:
        decision = execution.decide(target.state, command, self.clock.now_ms())
        if decision.record is not None:
            target.records.append(decision.record)
            apply(target.state, decision.record)
        self._outbox += decision.deliveries
        if target.on_lost is not None and not is_open(target.state):
            target.on_lost()
        self._offer(target)
        if not target.running and not is_open(target.state):
            self._alive.pop(target.identity.execution_id, None)

    def _send(self, delivery: StartChild | ReportEnd) -> None:
        match delivery:
            case StartChild():
                self._start_child(delivery)
            case ReportEnd():
                self._report_end(delivery)

    def _report_end(self, report: ReportEnd) -> None:
        ended = commands.ChildEnded(
            operation_id=report.parent.operation_id,
            status=report.status,
            result=text_of(report.result),
            error=report.error,
        )
        self._command(self.executions[report.parent.execution_id], ended)

    def _start_child(self, child: StartChild) -> None:
        if child.execution_id in self.executions:
            return
        settings = self.functions[child.function].settings
        begin = commands.Start(
            namespace=child.namespace,
            function=child.function,
            name=child.name,
            execution_id=child.execution_id,
            timeout_s=settings.execution_timeout_s,
            retention_days=settings.retention_days,
            input=text_of(child.input),
            parent=child.parent,
            tenant_id=child.tenant_id,
            trace_header=child.trace_header,
        )
        tree = self.executions[child.parent.execution_id].tree
        try:
            self.start(begin, self.functions[child.function], {}, tree)
        except Invalid as refused:
            error = ErrorObject(str(refused), "InvalidParameterValueException")
            self._report_end(ReportEnd(parent=child.parent, status="FAILED", error=error))

    def _offer(self, target: Execution) -> None:
        if target.queued or target.running or not wants_task(target.state):
            return
        target.queued = True
        target.tree.waiting.append(target)
        self._begin_next(target.tree)

    def _begin_next(self, tree: ExecutionTree) -> None:
        while tree.waiting and not tree.busy and not self.closed:
            target = tree.waiting.popleft()
            target.queued = False
            if wants_task(target.state):  # it may have been paused or stopped in the queue
                target.running = tree.busy = True
                threading.Thread(
                    target=self._run, args=(target,), name="perdure-invocation", daemon=True
                ).start()

    def _run(self, target: Execution) -> None:
        try:
            self._run_invocation(self, target)
        except BaseException as error:  # noqa: BLE001 - raised by the wait for the execution
            with self.changed:
                target.running = target.tree.busy = False
                target.problem = error
                self.changed.notify_all()

    def _raise_problem(self) -> None:
        for each in self._alive.values():
            if each.problem is not None:
                raise each.problem

    def _wait_idle(self) -> None:
        if not step_running.get():
            self.changed.wait_for(lambda: not self._busy())

    def _busy(self) -> bool:
        return any(each.running for each in self._alive.values())

    def _pass_time(self, describe: Callable[[], str]) -> bool:
        """Run what is due, after a jump if nothing runs; return whether anything was."""
        due_ms = self._next_due_ms()
        if due_ms is not None and due_ms <= self.clock.now_ms():
            self.fire_due()
            return True
        if self._busy() or not self.clock.skips:
            return False
        if due_ms is None:
            raise DurableFunctionsTestError(
                f"{describe()} can never come: nothing runs, and nothing is due.\n{self.explain()}"
            )
        self._jump(due_ms)
        return True

    def _jump(self, to_ms: int) -> None:
        assert isinstance(self.clock, VirtualClock)
        self.clock.jump(to_ms)
        self.fire_due()

    def _next_due_ms(self) -> int | None:
        dues = (_due_ms(each) for each in self._alive.values())
        return min((due_ms for due_ms in dues if due_ms is not None), default=None)

    def _due_in_s(self) -> float:
        due_ms = None if self.clock.skips else self._next_due_ms()
        if due_ms is None:
            return threading.TIMEOUT_MAX
        return max(due_ms - self.clock.now_ms(), 0) / 1_000


def execution_id_of(function: str, name: str) -> str:
    """Return the id of the execution of this name, the same in every run of a test."""
    return blake2b(f"{function}/{name}".encode(), digest_size=16).hexdigest()


def _due_ms(target: Execution) -> int | None:
    """Return when an execution changes by time.

    The default execution timeout does not count: an execution that has only this left waits for
    something that its test forgot.
    """
    state = target.state
    alone = len(state.alarms) == 1 and state.timeout_s == EXECUTION_TIMEOUT_S_MAX
    due_ms = state.alarms.next_due_ms()
    return None if alone and due_ms == state.deadline_ms else due_ms


def _explain(target: Execution) -> str:
    waiting = waiting_for(target.state)
    text = f"  {target.identity.function}/{target.identity.name} is {target.state.status}, waiting"
    if waiting == "callback":
        names = ", ".join(map(repr, _open_callbacks(target)))
        return f"{text} for callback {names}: complete it with send_callback_success or _failure."
    if waiting in {"pause", "diverged"}:
        reason = target.state.pause.reason if target.state.pause is not None else None
        return f"{text} to be resumed{'.' if reason is None else f': {reason}'}"
    return f"{text} for {waiting}."


def _open_callbacks(target: Execution) -> list[str]:
    return [
        operation.name or operation.details.callback_id
        for operation in target.state.operations.values()
        if operation.type is OperationType.CALLBACK
        and operation.status is OperationStatus.STARTED
        and isinstance(operation.details, CallbackDetails)
    ]
