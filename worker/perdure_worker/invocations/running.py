"""The running invocations of a worker, and the messages that they send to the server.

Outlives sessions: when a stream breaks, handlers go on, and the next session repeats the calls that
were not answered. Belongs to the loop; never waits. A session calls `connected`, then `outgoing`
whenever `has_outgoing` is set, passes in what it receives, and calls `disconnected`.

Must stay true: every open invocation is in `_open`; every future that a handler may wait for is
resolved when its invocation closes; a slot is released when the handler's thread has ended, not
before.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Final, assert_never

from perdure.worker_api import (
    DaemonThreadPool,
    Diverged,
    Errored,
    Failed,
    InvocationLost,
    Lost,
    Outcome,
    Pending,
    RegisteredFunction,
    Succeeded,
)
from perdure_core.commands import CompletionStatus
from perdure_core.model import ErrorObject
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.active import (
    ActiveInvocation,
    HandlerEnded,
    InboxMessage,
    UpdatesSubmitted,
)
from perdure_worker.invocations.failure_lines import log_line, outcome_line
from perdure_worker.invocations.inbox import Inbox
from perdure_worker.invocations.messages import CallMessages
from perdure_worker.invocations.protocol import (
    Call,
    CheckpointCall,
    CompleteCall,
    Completion,
    Phase,
    StateCall,
)
from perdure_worker.invocations.slots import Slots
from perdure_worker.metrics.metrics import InvocationOutcome, WorkerMetrics, count_invocation
from perdure_worker.threads.handler_loop_thread import HandlerLoopThread

# How long updates that no handler waits for may wait for more.
LINGER_S_MAX: Final = 0.1

# Phases from which an invocation can still be ended or handed back.
BEFORE_END: Final = (Phase.LOADING, Phase.RUNNING, Phase.REVOKED)

HANDLER_THREAD_NAME: Final = "perdure-handler"

_log = logging.getLogger("perdure.worker")


class RunningInvocations:
    """The invocations of one worker process."""

    def __init__(
        self,
        functions: Mapping[str, RegisteredFunction],
        *,
        worker_id: str,
        slots: int,
        metrics: WorkerMetrics,
        client_token_prefix: str,
    ) -> None:
        self.has_outgoing = asyncio.Event()
        self._functions = functions
        self._worker_id = worker_id
        self._metrics = metrics
        self._client_token_prefix = client_token_prefix
        self._loop = asyncio.get_running_loop()
        self._inbox: Inbox[InboxMessage] = Inbox(self._loop, self._read_inbox)
        self._threads = DaemonThreadPool(HANDLER_THREAD_NAME)
        self._handler_loop = HandlerLoopThread()
        self._slots = Slots(slots)
        self._open: dict[str, ActiveInvocation] = {}
        self._ready: deque[ActiveInvocation] = deque()
        self._returned_tokens: list[str] = []
        self._calls: dict[int, tuple[ActiveInvocation, Call]] = {}
        self._calls_made = 0
        self._heartbeat_due = False
        self._accepting = True
        self._idle = asyncio.Event()
        self._idle.set()
        metrics.slots.set(slots)

    @property
    def count(self) -> int:
        """How many invocations this worker holds now."""
        return len(self._open)

    async def wait_idle(self) -> None:
        """Wait until this worker holds no invocation."""
        await self._idle.wait()

    def claims(self) -> list[str]:
        """Return the token of every invocation that this worker holds, for a new session."""
        return [active.protocol.token for active in self._open.values()]

    def connected(self, refused_claims: Iterable[str]) -> None:
        """Start a session: drop what the server refused, repeat what it has not answered."""
        refused = frozenset(refused_claims)
        for active in list(self._open.values()):
            if active.protocol.token in refused:
                self.drop(active)
                continue
            active.backing_off = False
            active.protocol.send_again()
            self.advance(active)
        self.has_outgoing.set()

    def disconnected(self) -> None:
        """End a session: its answers and credits will not come."""
        self._calls.clear()
        self._slots.forget_promises()

    def stop_accepting(self) -> None:
        """Stop accepting invocations; those that still arrive are handed back at once."""
        self._accepting = False

    def hand_back_all(self) -> list[str]:
        """Hand back whatever has not ended, as soon as its unanswered call is answered.

        Returns the ARNs of the executions.
        """
        arns: list[str] = []
        for active in list(self._open.values()):
            if active.protocol.phase in BEFORE_END:
                arns.append(active.execution_arn)
                _give_up(active.protocol.hand_back())
                active.notify_lost()
                self.advance(active)
        return arns

    def close(self) -> None:
        """Release every thread; what they submit from now on is refused."""
        for message in self._inbox.close():
            if isinstance(message, UpdatesSubmitted):
                _give_up([message.future])
        for active in self._open.values():
            _give_up(active.protocol.close())
            active.notify_lost()
        self._threads.close()
        self._handler_loop.close()

    def request_heartbeat(self) -> None:
        """Send a heartbeat soon."""
        self._heartbeat_due = True
        self.has_outgoing.set()

    def receive(self, messages: Iterable[worker_pb2.Invocation]) -> None:
        """Start the invocations that the server delivered."""
        for message in messages:
            if not self._slots.occupy():
                _log.error("%s: delivered without a free slot; handed back", message.execution_arn)
                self._return_token(message.checkpoint_token)
            elif not self._accepting:
                self._slots.release()
                self._return_token(message.checkpoint_token)
            else:
                self._accept(message)
        self._slots_changed()

    def lost(self, invocation_ids: Iterable[str]) -> None:
        """Drop invocations that now belong to another worker."""
        for invocation_id in invocation_ids:
            active = self._open.get(invocation_id)
            # An end that has been sent is answered itself, also when the server knew it by then.
            if active is not None and active.protocol.phase is not Phase.ENDING:
                self.drop(active)

    def match_reply(self, call_id: int) -> tuple[ActiveInvocation, Call] | None:
        """Return the call that was answered, and its invocation; None if the answer is too late."""
        found = self._calls.pop(call_id, None)
        if found is None or found[0].protocol.unanswered is not found[1]:
            return None
        return found

    def drop(self, active: ActiveInvocation) -> None:
        """Drop an invocation that now belongs to another worker."""
        _log.info("%s: the invocation now belongs to another worker; dropped", active.execution_arn)
        _give_up(active.protocol.close())
        active.notify_lost()
        self.advance(active)

    def advance(self, active: ActiveInvocation) -> None:
        """Queue, delay or forget the invocation, after any change of its protocol."""
        protocol = active.protocol
        if protocol.ready:
            if not active.queued:
                active.queued = True
                self._ready.append(active)
                self.has_outgoing.set()
        elif protocol.lingers:
            if not active.lingering:
                active.lingering = True
                self._loop.call_later(LINGER_S_MAX, self._flush, active)
        elif (token := protocol.take_returned_token()) is not None:
            self._return_token(token)
        if protocol.closed:
            self._forget(active)

    def start(self, active: ActiveInvocation) -> None:
        """Run the handler; all pages of its state have arrived."""
        assert active.function is not None
        active.thread_started = True
        if active.function.is_async:
            active.handler_task = self._handler_loop.start(active.run_async, active.report_end)
        else:
            self._threads.start(active.run)

    def fail(self, active: ActiveInvocation, error: ErrorObject) -> None:
        """Report an invocation that could not start."""
        active.thread_ended = True
        self._release_slot()
        self._complete(active, Errored(error))

    def outgoing(self) -> list[worker_pb2.WorkerMessage]:
        """Return all that is ready to be sent, in few messages."""
        calls = CallMessages()
        while self._ready:
            active = self._ready.popleft()
            active.queued = False
            self._calls_made += 1
            number = self._calls_made
            call = active.protocol.take_call(f"{self._client_token_prefix}-{number}")
            if call is None:
                continue
            self._calls[number] = (active, call)
            match call:
                case CheckpointCall():
                    if active.sent is not call:
                        active.sent, active.sent_s = call, time.perf_counter()
                    calls.add_checkpoint(number, call)
                case CompleteCall():
                    calls.add_completion(number, call, active.counters.replayed_operations)
                case StateCall():
                    calls.add_state(number, call)
                case _:
                    assert_never(call)
        return [*calls.take(), *self._outgoing_about_worker()]

    def _outgoing_about_worker(self) -> list[worker_pb2.WorkerMessage]:
        messages: list[worker_pb2.WorkerMessage] = []
        if self._returned_tokens:
            request = worker_pb2.HandBackRequest(
                worker_id=self._worker_id, checkpoint_tokens=self._returned_tokens
            )
            self._returned_tokens = []
            messages.append(worker_pb2.WorkerMessage(hand_back=request))
        credit = self._slots.take_credit() if self._accepting else 0
        if credit:
            messages.append(worker_pb2.WorkerMessage(credit=worker_pb2.Credit(slots=credit)))
        if self._heartbeat_due:
            self._heartbeat_due = False
            heartbeat = worker_pb2.HeartbeatRequest(
                worker_id=self._worker_id, invocation_ids=self._open
            )
            messages.append(worker_pb2.WorkerMessage(heartbeat=heartbeat))
        return messages

    def _accept(self, message: worker_pb2.Invocation) -> None:
        repeated = self._open.get(message.invocation_id)
        if repeated is not None:
            self.drop(repeated)
        function = self._functions.get(message.function_name)
        active = ActiveInvocation(message, function, self._inbox)
        self._open[active.invocation_id] = active
        self._idle.clear()
        if function is None:
            text = f"this worker does not serve the function {message.function_name!r}"
            self.fail(active, ErrorObject(message=text, type="Worker.UnknownFunction"))
        elif active.protocol.phase is Phase.RUNNING:
            self.start(active)
        self.advance(active)

    def _read_inbox(self) -> None:
        for message in self._inbox.take():
            match message:
                case UpdatesSubmitted(active, updates, future, urgent):
                    if active.protocol.phase is Phase.RUNNING:
                        active.protocol.submit(updates, future, urgent=urgent)
                    else:
                        _give_up([future])
                case HandlerEnded(active, _):
                    self._ended(message)
                case _:
                    assert_never(message)
            self.advance(active)

    def _ended(self, ended: HandlerEnded) -> None:
        ended.active.thread_ended = True
        self._release_slot()
        self._complete(ended.active, ended.outcome)

    def _complete(self, active: ActiveInvocation, outcome: Outcome) -> None:
        label, completion = _completion(outcome)
        if active.protocol.phase not in BEFORE_END:
            label = "dropped"
        elif completion is None:
            # The handler gave up an invocation that is still ours: it has to run elsewhere.
            _give_up(active.protocol.hand_back())
        else:
            active.reporting = True
            self._slots.unconfirmed += 1
            active.protocol.finish(completion)
        line = outcome_line(active.function_name, active.execution_arn, outcome)
        if line is not None and label != "dropped":
            log_line(line)
        count_invocation(self._metrics, label, active.counters)

    def _flush(self, active: ActiveInvocation) -> None:
        active.lingering = False
        if not active.protocol.closed:
            active.protocol.flush()
            self.advance(active)

    def _return_token(self, token: str) -> None:
        self._returned_tokens.append(token)
        self.has_outgoing.set()

    def _forget(self, active: ActiveInvocation) -> None:
        # A task is cancelled. A thread may still run user code, and keeps its slot until that ends.
        if self._open.get(active.invocation_id) is not active:
            return
        del self._open[active.invocation_id]
        if active.handler_task is not None and not active.thread_ended:
            active.handler_task.cancel()
        if active.reporting:
            self._slots.unconfirmed -= 1
            self.has_outgoing.set()
        if not active.thread_started and not active.thread_ended:
            active.thread_ended = True
            self._release_slot()
            count_invocation(self._metrics, "dropped", active.counters)
        if not self._open:
            self._idle.set()

    def _release_slot(self) -> None:
        self._slots.release()
        self._slots_changed()
        self.has_outgoing.set()

    def _slots_changed(self) -> None:
        self._metrics.slots_in_use.set(self._slots.in_use)


def _completion(outcome: Outcome) -> tuple[InvocationOutcome, Completion | None]:
    """Return what an outcome is called, and how it is reported if at all."""
    match outcome:
        case Succeeded(result):
            return "succeeded", Completion(CompletionStatus.SUCCEEDED, result=result)
        case Failed(error):
            return "failed", Completion(CompletionStatus.FAILED, error=error)
        case Pending():
            return "pending", Completion(CompletionStatus.PENDING)
        case Errored(error):
            return "error", Completion(CompletionStatus.ERROR, error=error)
        case Diverged(error):
            return "diverged", Completion(CompletionStatus.DIVERGED, error=error)
        case Lost():
            return "dropped", None
        case _:
            assert_never(outcome)


def _give_up(futures: Iterable[Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(InvocationLost())
