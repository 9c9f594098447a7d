"""What the server's answers mean for the invocations that asked.

A failure is never invented: what can be repeated is repeated, until the execution itself would have
timed out; what cannot is told to whoever waits for it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from time import perf_counter
from typing import assert_never

from perdure.worker_api import (
    CheckpointAnswer,
    CheckpointRefused,
    CheckpointUnavailable,
    InvocationLost,
)
from perdure_core.model import ErrorObject
from perdure_host.codec import MalformedMessage, operations_from_messages
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.active import Delivery
from perdure_worker.invocations.protocol import (
    Call,
    CheckpointCall,
    CompleteCall,
    Completion,
    PageCall,
    Phase,
)
from perdure_worker.invocations.running import RunningInvocations
from perdure_worker.metrics.metrics import WorkerMetrics
from perdure_worker.session.backoff import backoff_ms
from perdure_worker.session.call_failures import Verdict, verdict_on_call

_log = logging.getLogger("perdure.worker")


class Replies:
    """Applies answers to the running invocations. Belongs to the loop."""

    def __init__(
        self,
        running: RunningInvocations,
        metrics: WorkerMetrics,
        *,
        now_ms: Callable[[], int],
        chance: Callable[[], float],
    ) -> None:
        self._running = running
        self._metrics = metrics
        self._now_ms = now_ms
        self._chance = chance
        self._loop = asyncio.get_running_loop()

    def received(self, replies: Iterable[worker_pb2.Reply]) -> None:
        """Apply answers, in order."""
        for reply in replies:
            found = self._running.answered(reply.call_id)
            if found is not None:
                self._apply(reply, *found)
                self._running.look_at(found[0])

    def _apply(self, reply: worker_pb2.Reply, delivery: Delivery, call: Call) -> None:
        match call:
            case CheckpointCall() if reply.HasField("checkpoint"):
                self._checkpoint_accepted(delivery, reply.checkpoint)
            case CompleteCall() if reply.HasField("complete"):
                delivery.turn.completed()
            case PageCall() if reply.HasField("state"):
                self._page_received(delivery, reply.state)
            case _:
                self._refused(delivery, call, reply.error)

    def _checkpoint_accepted(
        self, delivery: Delivery, answer: worker_pb2.CheckpointResponse
    ) -> None:
        self._metrics.checkpoint_seconds.observe(perf_counter() - delivery.sent_s)
        delivery.failures = 0
        revoked = not answer.checkpoint_token
        unrecorded: list[Future[None]] = []
        if revoked:
            futures, unrecorded = delivery.turn.checkpoint_accepted_last()
        else:
            futures = delivery.turn.checkpoint_accepted(answer.checkpoint_token)
        try:
            operations = operations_from_messages(answer.operations)
        except MalformedMessage as error:
            _settle(futures, CheckpointUnavailable(f"the answer is not understood: {error}"))
        else:
            for listener in delivery.listeners:
                listener(CheckpointAnswer(operations, revoked))
            _settle(futures, None)
        _settle(unrecorded, InvocationLost())

    def _page_received(self, delivery: Delivery, answer: worker_pb2.GetStateResponse) -> None:
        delivery.failures = 0
        delivery.add_page(answer.operations)
        delivery.turn.page_received(answer.next_marker)
        if delivery.turn.phase is Phase.RUNNING:
            self._running.start(delivery)

    def _refused(self, delivery: Delivery, call: Call, error: worker_pb2.CallError) -> None:
        verdict = verdict_on_call(error.code)
        match verdict:
            case Verdict.AGAIN:
                self._again_later(delivery, call)
            case Verdict.PASSED:
                self._running.drop(delivery)
            case Verdict.REFUSED | Verdict.BROKEN:
                self._will_not_do(delivery, call, error.message, verdict)
            case _:
                assert_never(verdict)

    def _again_later(self, delivery: Delivery, call: Call) -> None:
        deadline_ms = delivery.deadline_ms
        if deadline_ms is not None and self._now_ms() >= deadline_ms:
            # The execution has timed out by now, whether or not the server can say so.
            self._running.drop(delivery)
            return
        delivery.failures += 1
        delivery.backing_off = True
        wait_ms = backoff_ms(delivery.failures, self._chance())
        self._loop.call_later(wait_ms / 1_000, self._again, delivery, call)

    def _again(self, delivery: Delivery, call: Call) -> None:
        # A new session may have sent it meanwhile.
        if delivery.backing_off and delivery.turn.unanswered is call:
            delivery.backing_off = False
            delivery.turn.send_again()
            self._running.look_at(delivery)

    def _will_not_do(self, delivery: Delivery, call: Call, message: str, verdict: Verdict) -> None:
        futures = delivery.turn.refused()
        error = ErrorObject(message=message, type="Worker.CallRefused")
        match call:
            case CheckpointCall():
                refused = verdict is Verdict.REFUSED
                _settle(
                    futures,
                    CheckpointRefused(message) if refused else CheckpointUnavailable(message),
                )
                if delivery.turn.phase is Phase.ENDING:
                    # Nobody waits for it, and the handler's outcome was built on it.
                    delivery.turn.finish_instead(Completion("ERROR", error=error))
            case CompleteCall():
                self._completion_refused(delivery, error)
            case PageCall():
                self._running.fail(delivery, error)
            case _:
                assert_never(call)

    def _completion_refused(self, delivery: Delivery, error: ErrorObject) -> None:
        _log.warning("%s: its end was refused: %s", delivery.execution_arn, error.message)
        if delivery.finished_instead:
            self._running.drop(delivery)
            return
        delivery.finished_instead = True
        delivery.turn.finish_instead(Completion("ERROR", error=error))


def _settle(futures: Iterable[Future[None]], error: BaseException | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
