"""Applies the server's answers to the invocations that called.

A failure is never invented: what can be retried is retried, until the execution itself would have
timed out; other failures are raised where the handler waits.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from time import perf_counter
from typing import Final, assert_never

from perdure.worker_api import (
    CheckpointAnswer,
    CheckpointRefused,
    CheckpointUnavailable,
    InvocationLost,
)
from perdure_core.commands import CompletionStatus
from perdure_core.model import ErrorObject
from perdure_host.backoff import backoff_ms
from perdure_host.codec import MalformedMessage, operations_from_messages
from perdure_proto.v1 import worker_pb2
from perdure_worker.invocations.active import ActiveInvocation
from perdure_worker.invocations.failure_lines import attempt_lines, log_line
from perdure_worker.invocations.protocol import (
    Call,
    CheckpointCall,
    CompleteCall,
    Completion,
    Phase,
    StateCall,
)
from perdure_worker.invocations.running import RunningInvocations
from perdure_worker.metrics.metrics import WorkerMetrics
from perdure_worker.session.call_failures import CallFailure, classify

# Of one call, and of connecting again.
BACKOFF_MS_MAX: Final = 1_000

_log = logging.getLogger("perdure.worker")


class ReplyHandler:
    """Applies answers to the running invocations. Belongs to the loop."""

    def __init__(
        self,
        running: RunningInvocations,
        metrics: WorkerMetrics,
        *,
        monotonic_s: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._running = running
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._chance = chance
        self._loop = asyncio.get_running_loop()

    def received(self, replies: Iterable[worker_pb2.Reply]) -> None:
        """Apply answers, in order."""
        for reply in replies:
            found = self._running.match_reply(reply.call_id)
            if found is not None:
                self._apply(reply, *found)
                self._running.advance(found[0])

    def _apply(self, reply: worker_pb2.Reply, active: ActiveInvocation, call: Call) -> None:
        match call:
            case CheckpointCall() if reply.HasField("checkpoint"):
                self._checkpoint_accepted(active, call, reply.checkpoint)
            case CompleteCall() if reply.HasField("complete"):
                active.protocol.completed()
            case StateCall() if reply.HasField("state"):
                self._page_received(active, reply.state)
            case _:
                self._refused(active, call, reply.error)

    def _checkpoint_accepted(
        self, active: ActiveInvocation, call: CheckpointCall, answer: worker_pb2.CheckpointResponse
    ) -> None:
        self._metrics.checkpoint_seconds.observe(perf_counter() - active.sent_s)
        active.failures = 0
        revoked = not answer.checkpoint_token
        unrecorded: list[Future[None]] = []
        if revoked:
            futures, unrecorded = active.protocol.checkpoint_accepted_last()
        else:
            futures = active.protocol.checkpoint_accepted(answer.checkpoint_token)
        try:
            operations = operations_from_messages(answer.operations)
        except MalformedMessage as error:
            _settle(futures, CheckpointUnavailable(f"the answer cannot be decoded: {error}"))
        else:
            for listener in active.listeners:
                listener(CheckpointAnswer(operations, revoked))
            _settle(futures, None)
            updates = call.updates
            for line in attempt_lines(
                active.function_name, active.execution_arn, updates, operations
            ):
                log_line(line)
        _settle(unrecorded, InvocationLost())

    def _page_received(self, active: ActiveInvocation, answer: worker_pb2.GetStateResponse) -> None:
        active.failures = 0
        active.add_page(answer.operations)
        active.protocol.page_received(answer.next_marker)
        if active.protocol.phase is Phase.RUNNING:
            self._running.start(active)

    def _refused(self, active: ActiveInvocation, call: Call, error: worker_pb2.CallError) -> None:
        failure = classify(error.code)
        match failure:
            case CallFailure.RETRY:
                self._retry_later(active, call)
            case CallFailure.LOST:
                self._running.drop(active)
            case CallFailure.REJECTED | CallFailure.SERVER_ERROR:
                self._fail_call(active, call, error.message, failure)
            case _:
                assert_never(failure)

    def _retry_later(self, active: ActiveInvocation, call: Call) -> None:
        if active.expires_s is not None and self._monotonic_s() >= active.expires_s:
            # The execution has timed out by now, whether or not the server can say so.
            self._running.drop(active)
            return
        active.failures += 1
        active.backing_off = True
        wait_ms = backoff_ms(active.failures, self._chance(), ms_max=BACKOFF_MS_MAX)
        self._loop.call_later(wait_ms / 1_000, self._retry, active, call)

    def _retry(self, active: ActiveInvocation, call: Call) -> None:
        # A new session may have sent it meanwhile.
        if active.backing_off and active.protocol.unanswered is call:
            active.backing_off = False
            active.protocol.send_again()
            self._running.advance(active)

    def _fail_call(
        self, active: ActiveInvocation, call: Call, message: str, failure: CallFailure
    ) -> None:
        futures = active.protocol.refused()
        error = ErrorObject(message=message, type="Worker.CallRefused")
        match call:
            case CheckpointCall():
                refused = failure is CallFailure.REJECTED
                _settle(
                    futures,
                    CheckpointRefused(message) if refused else CheckpointUnavailable(message),
                )
                if active.protocol.phase is Phase.ENDING:
                    # No handler waits for it, and the handler's outcome was built on it.
                    active.protocol.finish_instead(Completion(CompletionStatus.ERROR, error=error))
            case CompleteCall():
                self._completion_refused(active, error)
            case StateCall():
                self._running.fail(active, error)
            case _:
                assert_never(call)

    def _completion_refused(self, active: ActiveInvocation, error: ErrorObject) -> None:
        _log.warning("%s: its end was refused: %s", active.execution_arn, error.message)
        if active.finished_instead:
            self._running.drop(active)
            return
        active.finished_instead = True
        active.protocol.finish_instead(Completion(CompletionStatus.ERROR, error=error))


def _settle(futures: Iterable[Future[None]], error: BaseException | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
