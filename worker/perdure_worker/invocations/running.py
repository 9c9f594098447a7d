"""Everything that runs in this worker, and what it has to say to the server.

Outlives sessions: when a stream breaks, handlers go on, and the next session says again what was
not answered. Belongs to the loop; never waits. A session calls `connected`, then `outgoing`
whenever `something_to_say` is set, hands in what it hears, and calls `disconnected`.

Must stay true: every open turn is in `_open`; every future that a handler may wait for is resolved
when its turn closes; a slot is released when the handler's thread has ended, not before.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Final, assert_never

from perdure.worker_api import (
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
from perdure_core.model import ErrorObject
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.active import Delivery, Ended, Letter, Submitted
from perdure_worker.invocations.inbox import Inbox
from perdure_worker.invocations.messages import (
    batches,
    checkpoint_message,
    complete_message,
    page_message,
)
from perdure_worker.invocations.protocol import (
    Call,
    CheckpointCall,
    CompleteCall,
    Completion,
    PageCall,
    Phase,
)
from perdure_worker.invocations.slots import Slots
from perdure_worker.metrics.metrics import InvocationOutcome, WorkerMetrics, count_invocation
from perdure_worker.threads.handler_loop_thread import HandlerLoopThread
from perdure_worker.threads.handler_threads import HandlerThreads

# How long updates that nobody waits for may wait for company.
LINGER_S_MAX: Final = 0.1

# Phases from which an invocation can still be ended or handed back.
BEFORE_END: Final = (Phase.LOADING, Phase.RUNNING, Phase.REVOKED)

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
        self.something_to_say = asyncio.Event()
        self._functions = functions
        self._worker_id = worker_id
        self._metrics = metrics
        self._client_token_prefix = client_token_prefix
        self._loop = asyncio.get_running_loop()
        self._inbox: Inbox[Letter] = Inbox(self._loop, self._read_inbox)
        self._threads = HandlerThreads()
        self._handler_loop = HandlerLoopThread()
        self._slots = Slots(slots)
        self._open: dict[str, Delivery] = {}
        self._ready: deque[Delivery] = deque()
        self._returned_tokens: list[str] = []
        self._calls: dict[int, tuple[Delivery, Call]] = {}
        self._calls_made = 0
        self._heartbeat_due = False
        self._accepting = True
        self._idle = asyncio.Event()
        self._idle.set()
        metrics.slots.set(slots)

    @property
    def count(self) -> int:
        """How many invocations are ours at the moment."""
        return len(self._open)

    async def wait_idle(self) -> None:
        """Wait until no invocation is ours."""
        await self._idle.wait()

    def claims(self) -> list[str]:
        """Return the token of every invocation that is ours, for a new session."""
        return [delivery.turn.token for delivery in self._open.values()]

    def connected(self, refused_claims: Iterable[str]) -> None:
        """Begin a session: drop what the server refused, say again what it has not answered."""
        refused = frozenset(refused_claims)
        for delivery in list(self._open.values()):
            if delivery.turn.token in refused:
                self.drop(delivery)
                continue
            delivery.backing_off = False
            delivery.turn.send_again()
            self.look_at(delivery)
        self.something_to_say.set()

    def disconnected(self) -> None:
        """End a session: its answers and its credits will not come."""
        self._calls.clear()
        self._slots.forget_promises()

    def stop_accepting(self) -> None:
        """Take no more invocations; those that still arrive are handed back at once."""
        self._accepting = False

    def hand_back_all(self) -> None:
        """Hand back whatever has not ended, as soon as its unanswered call is answered."""
        for delivery in list(self._open.values()):
            if delivery.turn.phase in BEFORE_END:
                _give_up(delivery.turn.hand_back())
                delivery.lose()
                self.look_at(delivery)

    def shut(self) -> None:
        """Release every thread: nobody listens any more."""
        for letter in self._inbox.close():
            if isinstance(letter, Submitted):
                _give_up([letter.future])
        for delivery in self._open.values():
            _give_up(delivery.turn.close())
            delivery.lose()
        self._threads.close()
        self._handler_loop.close()

    def say_heartbeat(self) -> None:
        """Prove soon that the worker lives."""
        self._heartbeat_due = True
        self.something_to_say.set()

    def arrived(self, messages: Iterable[worker_pb2.Invocation]) -> None:
        """Start what the server delivered."""
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
        """Drop invocations whose turn has passed."""
        for invocation_id in invocation_ids:
            delivery = self._open.get(invocation_id)
            # An end that has been sent is answered itself, also when the server knew it by then.
            if delivery is not None and delivery.turn.phase is not Phase.ENDING:
                self.drop(delivery)

    def answered(self, call_id: int) -> tuple[Delivery, Call] | None:
        """Return whose call has been answered; None when the answer comes too late to matter."""
        found = self._calls.pop(call_id, None)
        if found is None or found[0].turn.unanswered is not found[1]:
            return None
        return found

    def drop(self, delivery: Delivery) -> None:
        """Note that the turn has passed to somebody else."""
        _log.info("%s: the turn has passed; the invocation is dropped", delivery.execution_arn)
        _give_up(delivery.turn.close())
        delivery.lose()
        self.look_at(delivery)

    def look_at(self, delivery: Delivery) -> None:
        """Do what the state of its turn calls for, after anything that may have changed it."""
        turn = delivery.turn
        if turn.ready:
            if not delivery.queued:
                delivery.queued = True
                self._ready.append(delivery)
                self.something_to_say.set()
        elif turn.lingers:
            if not delivery.lingering:
                delivery.lingering = True
                self._loop.call_later(LINGER_S_MAX, self._hurry, delivery)
        elif (token := turn.take_returned_token()) is not None:
            self._return_token(token)
        if turn.closed:
            self._forget(delivery)

    def start(self, delivery: Delivery) -> None:
        """Run the handler: all pages of its state are here."""
        assert delivery.function is not None
        delivery.thread_started = True
        if delivery.function.is_async:
            delivery.handling = self._handler_loop.start(delivery.run_async, delivery.tell_end)
        else:
            self._threads.start(delivery.run, busy=self._slots.in_use)

    def fail(self, delivery: Delivery, error: ErrorObject) -> None:
        """Report an invocation that could not even start."""
        delivery.thread_ended = True
        self._release_slot()
        self._report(delivery, Errored(error))

    def outgoing(self) -> list[worker_pb2.WorkerMessage]:
        """Return everything that is to be said now, in few messages."""
        checkpoints: list[worker_pb2.CheckpointCall] = []
        completions: list[worker_pb2.CompleteCall] = []
        messages: list[worker_pb2.WorkerMessage] = []
        while self._ready:
            delivery = self._ready.popleft()
            delivery.queued = False
            self._calls_made += 1
            number = self._calls_made
            call = delivery.turn.take_call(f"{self._client_token_prefix}-{number}")
            if call is None:
                continue
            self._calls[number] = (delivery, call)
            match call:
                case CheckpointCall():
                    if delivery.sent is not call:
                        delivery.sent, delivery.sent_s = call, time.perf_counter()
                    checkpoints.append(checkpoint_message(number, call))
                case CompleteCall():
                    replayed = delivery.tally.replayed_operations
                    completions.append(complete_message(number, call, replayed))
                case PageCall():
                    messages.append(page_message(number, call))
                case _:
                    assert_never(call)
        messages.extend(batches(checkpoints, completions))
        messages.extend(self._outgoing_about_worker())
        return messages

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
        delivery = Delivery(message, function, self._inbox)
        self._open[delivery.invocation_id] = delivery
        self._idle.clear()
        if function is None:
            text = f"this worker does not serve the function {message.function_name!r}"
            self.fail(delivery, ErrorObject(message=text, type="Worker.UnknownFunction"))
        elif delivery.turn.phase is Phase.RUNNING:
            self.start(delivery)
        self.look_at(delivery)

    def _read_inbox(self) -> None:
        for letter in self._inbox.take():
            match letter:
                case Submitted(delivery, updates, future, urgent):
                    if delivery.turn.phase is Phase.RUNNING:
                        delivery.turn.submit(updates, future, urgent=urgent)
                    else:
                        _give_up([future])
                case Ended(delivery, _):
                    self._ended(letter)
                case _:
                    assert_never(letter)
            self.look_at(delivery)

    def _ended(self, ended: Ended) -> None:
        ended.delivery.thread_ended = True
        self._release_slot()
        self._report(ended.delivery, ended.outcome)

    def _report(self, delivery: Delivery, outcome: Outcome) -> None:
        word, completion = _completion(outcome)
        if delivery.turn.phase not in BEFORE_END:
            word = "dropped"
        elif completion is None:
            # The handler gave up a turn that is still ours: somebody else shall run it.
            _give_up(delivery.turn.hand_back())
        else:
            delivery.reporting = True
            self._slots.unconfirmed += 1
            delivery.turn.finish(completion)
        if word == "error" and completion is not None and completion.error is not None:
            _log.warning("%s: broken: %s", delivery.execution_arn, completion.error.message)
        count_invocation(self._metrics, word, delivery.tally)

    def _hurry(self, delivery: Delivery) -> None:
        delivery.lingering = False
        if not delivery.turn.closed:
            delivery.turn.hurry()
            self.look_at(delivery)

    def _return_token(self, token: str) -> None:
        self._returned_tokens.append(token)
        self.something_to_say.set()

    def _forget(self, delivery: Delivery) -> None:
        # A task is cancelled. A thread may still run user code, and keeps its slot until that ends.
        if self._open.get(delivery.invocation_id) is not delivery:
            return
        del self._open[delivery.invocation_id]
        if delivery.handling is not None and not delivery.thread_ended:
            delivery.handling.cancel()
        if delivery.reporting:
            self._slots.unconfirmed -= 1
            self.something_to_say.set()
        if not delivery.thread_started and not delivery.thread_ended:
            delivery.thread_ended = True
            self._release_slot()
            count_invocation(self._metrics, "dropped", delivery.tally)
        if not self._open:
            self._idle.set()

    def _release_slot(self) -> None:
        self._slots.release()
        self._slots_changed()
        self.something_to_say.set()

    def _slots_changed(self) -> None:
        self._metrics.slots_in_use.set(self._slots.in_use)


def _completion(outcome: Outcome) -> tuple[InvocationOutcome, Completion | None]:
    """Return what an outcome is called, and how it is reported if at all."""
    match outcome:
        case Succeeded(result):
            return "succeeded", Completion("SUCCEEDED", result=result)
        case Failed(error):
            return "failed", Completion("FAILED", error=error)
        case Pending():
            return "pending", Completion("PENDING")
        case Errored(error):
            return "error", Completion("ERROR", error=error)
        case Diverged(error):
            return "diverged", Completion("DIVERGED", error=error)
        case Lost():
            return "dropped", None
        case _:
            assert_never(outcome)


def _give_up(futures: Iterable[Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(InvocationLost())
