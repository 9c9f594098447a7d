"""Commands of workers: begin, claim, checkpoint, complete and hand back, and heartbeats."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from perdure_core.commands import (
    Checkpoint,
    CheckpointToken,
    Complete,
    CompletionStatus,
    HandBack,
)
from perdure_core.execution import current_token, decide, is_current
from perdure_core.identity import arn_of
from perdure_core.large_payloads import inline_operation, references_in
from perdure_core.limits import PAGE_ITEMS_MAX, REASON_CHARS_MAX
from perdure_core.model import (
    ErrorObject,
    ExecutionDetails,
    Operation,
    OperationType,
    OperationUpdate,
)
from perdure_core.operations import outcome_bytes
from perdure_core.payload import StoredPayload, bytes_of
from perdure_core.refusals import Invalid, Quarantined, Refused, StaleToken, Unknown
from perdure_core.state import State, identity_of, is_open, wants_task
from perdure_core.text import cut_chars
from perdure_core.views import changed_operations, execution_operation, visible_from
from perdure_history.committer import Submission
from perdure_history.execution_cache import CachedExecution, to_row
from perdure_history.executions import Executions
from perdure_history.ids import new_id
from perdure_history.lost_invocations import is_unclaimed, record_lost, record_unclaimed
from perdure_history.payloads import hashed
from perdure_history.running_invocations import RunningInvocation
from perdure_host.metrics import InvocationOutcome
from perdure_host.ports import ExecutionKey, ExecutionRow, FunctionRow
from perdure_host.services import CheckpointAnswer, InvocationOffer, StatePage, Task
from perdure_host.telemetry import open_log
from perdure_host.tokens import Signer, pack_marker, unpack_marker

_log = open_log("perdure.history")

# Claims whose executions are read together.
CLAIMS_AT_A_TIME: Final = 256


class WorkerCalls:
    """Implements `InvocationCommands`."""

    def __init__(self, executions: Executions, signer: Signer) -> None:
        self._executions = executions
        self._signer = signer

    async def register_functions(self, functions: Sequence[FunctionRow]) -> None:
        """Register functions; return once they are durable."""
        executions = self._executions
        executions.require_ready()
        await executions.functions.register(executions.committer.incarnation, functions)

    async def begin(self, key: ExecutionKey, worker_id: str) -> InvocationOffer | None:
        """Hand out an invocation of the execution, if it still wants one."""
        executions = self._executions
        texts: Mapping[StoredPayload, str] = {}
        while True:
            execution = await self._dispatchable(key)
            if execution is None:
                return None
            limit = executions.settings.state_page_operations
            try:
                with executions.quarantine.setting_aside(key, "it cannot be handed out"):
                    page = self._page(execution, 0, limit, alone=False)
                    absent = [each for each in references_in(page.operations) if each not in texts]
                    if not absent:
                        return self._offer(execution, _with_texts(page, texts), worker_id)
                texts = {**texts, **await executions.payloads.texts(key, absent)}
            except (Unknown, Quarantined):
                return None

    async def _dispatchable(self, key: ExecutionKey) -> CachedExecution | None:
        """Return the execution if it wants an invocation and none is handed out."""
        executions = self._executions
        if executions.claims.is_being_claimed(key):
            return None
        try:
            execution = await executions.committed(key)
            if is_unclaimed(executions, execution):
                if not executions.claims.may_be_claimed(key):
                    await record_unclaimed(executions, execution).wait()
                return None
        except (Unknown, Quarantined):
            return None
        if key in executions.running or not wants_task(execution.state):
            return None
        if executions.claims.is_being_claimed(key):
            return None
        return execution

    def _offer(
        self, execution: CachedExecution, page: StatePage, worker_id: str
    ) -> InvocationOffer:
        executions, key, state = self._executions, execution.key, execution.state
        now_ms = executions.clock.now_ms()
        invocation_id = new_id()
        decoded = current_token(state, invocation_id, now_ms)
        self._add_running(key, decoded, worker_id)
        return InvocationOffer(
            invocation_id=invocation_id,
            arn=arn_of(identity_of(state)),
            function=state.function,
            token=self._signer.sign_token(key, decoded),
            page=page,
            updated_operation_ids=tuple(state.unseen),
            first=state.invocations_completed == 0 and state.turn == 0,
            deadline_ms=state.deadline_ms,
            tenant_id=state.tenant_id,
            handed_out_ms=now_ms,
            trace_header=state.trace_header,
            client_context=state.client_context,
        )

    async def claim(self, tokens: Sequence[str], worker_id: str) -> tuple[str, ...]:
        """Adopt the invocations that run in the worker; return the tokens that are refused."""
        executions = self._executions
        executions.require_ready()
        refused: list[str] = []
        claims: list[tuple[str, ExecutionKey, CheckpointToken]] = []
        for token in tokens:
            try:
                claims.append((token, *self._signer.read_token(token)))
            except Invalid:
                # For example from another database. The worker must drop it, like a lost one.
                refused.append(token)
        keys = [key for _, key, _ in claims]
        executions.claims.claims_arrived(keys)
        try:
            for first in range(0, len(claims), CLAIMS_AT_A_TIME):
                batch = claims[first : first + CLAIMS_AT_A_TIME]
                await executions.prefetch([key for _, key, _ in batch])
                for token, key, decoded in batch:
                    if not await self._claim(key, decoded, worker_id):
                        refused.append(token)
        finally:
            executions.claims.claims_decided(keys)
        await self._offer_unclaimed(keys)
        return tuple(refused)

    async def _claim(self, key: ExecutionKey, decoded: CheckpointToken, worker_id: str) -> bool:
        executions = self._executions
        try:
            execution = await executions.committed(key)
        except (Unknown, Quarantined):
            return False
        other = executions.running.get(key)
        if other is not None and other.invocation_id != decoded.invocation_id:
            return False
        if not _may_go_on(execution.state, decoded):
            return False
        self._add_running(key, decoded, worker_id)
        return True

    async def _offer_unclaimed(self, keys: Iterable[ExecutionKey]) -> None:
        """Offer what was held back only because its claim was not decided."""
        executions = self._executions
        if executions.claims.is_open:
            return
        for key in keys:
            if key not in executions.running:
                try:
                    await self.reoffer(to_row(await executions.committed(key)))
                except (Unknown, Quarantined):
                    continue

    async def checkpoint(
        self, token: str, client_token: str, updates: tuple[OperationUpdate, ...]
    ) -> CheckpointAnswer:
        """Accept a batch, all or nothing."""
        executions = self._executions
        key, decoded = self._signer.read_token(token)
        external = await hashed(update.payload for update in updates)
        execution = await self._execution(key)
        arrived_ms = executions.clock.now_ms()
        self._require_durable(execution.state, updates)
        command = Checkpoint(
            token=decoded,
            client_token=client_token,
            updates=updates,
            callback_ids=self._callback_ids(key, updates),
            targets=self._targets(execution.state, updates),
        )
        decision = await executions.decide(execution, command)
        if decision.record is not None:
            executions.commit(execution, decision, external=external)
            self._record_heartbeat(key, decoded)
        answer = self._answer(execution, decoded)
        await executions.wait_committed(execution)
        taken_ms = executions.clock.now_ms() - arrived_ms
        executions.metrics.checkpoint_seconds.observe(taken_ms / 1_000)
        return answer

    async def state_page(self, token: str, marker: str, limit: int) -> StatePage:
        """Return a further page for the running invocation."""
        key, decoded = self._signer.read_token(token)
        execution = await self._committed(key)
        if not is_current(execution.state, decoded):
            raise StaleToken
        (position,) = unpack_marker("state", marker, tuple[int]) if marker else (0,)
        if position < 0:
            raise Invalid("malformed page marker: take it unchanged from next_marker")
        return self._page(execution, position, min(limit or PAGE_ITEMS_MAX, PAGE_ITEMS_MAX))

    async def complete(
        self,
        token: str,
        status: CompletionStatus,
        *,
        result: str | None,
        error: ErrorObject | None,
        replayed_operations: int = 0,
    ) -> None:
        """End an invocation."""
        key, decoded = self._signer.read_token(token)
        external = await hashed((result,))
        execution = await self._execution(key)
        executions = self._executions
        command = Complete(token=decoded, status=status, result=result, error=error)
        decision = await executions.decide(execution, command)
        if decision.record is None:
            await executions.wait_committed(execution)
            return
        await executions.commit(execution, decision, external=external).wait()
        pause = execution.state.pause
        if status is CompletionStatus.DIVERGED and pause is not None:
            _log_divergence(execution.state, error)
        metrics = executions.metrics
        metrics.replayed_operations.inc(max(0, replayed_operations))
        metrics.invocations[_OUTCOMES[status]].inc()

    async def hand_back(self, tokens: Sequence[str]) -> None:
        """Return unfinished invocations to their queues. Stale tokens are ignored."""
        executions = self._executions
        decoded_tokens = [self._signer.read_token(token) for token in tokens]
        batches: list[Submission] = []
        for key, decoded in decoded_tokens:
            try:
                execution = await executions.get(key)
                decision = decide(execution.state, HandBack(decoded), executions.clock.now_ms())
            except Refused:
                continue
            batches.append(executions.commit(execution, decision))
        for batch in batches:
            await batch.wait()

    async def heartbeat(self, worker_id: str, invocation_ids: Sequence[str]) -> tuple[str, ...]:
        """Return the ids that no longer are the worker's; record what it did not list as lost."""
        executions = self._executions
        now_ms = executions.attention.now_ms()
        listed = set(invocation_ids)
        for running in executions.running.of_worker(None):
            # It checkpointed after a restart without a claim; now its worker is known.
            if running.invocation_id in listed:
                executions.running.add(msgspec.structs.replace(running, worker_id=worker_id))
        known: set[str] = set()
        lost: list[RunningInvocation] = []
        for running in executions.running.of_worker(worker_id):
            known.add(running.invocation_id)
            if running.invocation_id in listed:
                running.heartbeat_ms = now_ms
            elif now_ms - running.attached_ms > executions.settings.handout_wait_ms:
                lost.append(running)
        await self._record_lost(lost)
        return tuple(id_ for id_ in invocation_ids if id_ not in known)

    def watch_lost(self, notify: Callable[[str, str], None]) -> None:
        """Call `notify(worker_id, invocation_id)` for each invocation whose execution has ended."""
        self._executions.on_lost = notify

    async def worker_lost(self, worker_id: str) -> None:
        """Record what ran in the worker as lost, unless it reconnects and claims it in time."""
        executions = self._executions
        executions.require_ready()
        running = executions.running.of_worker(worker_id)
        if running:
            await executions.attention.wait_ms(executions.settings.reconnect_wait_ms)
            await executions.claims.wait_after_pause()
            await self._record_lost(running)

    async def record_silent_lost(self) -> None:
        """Record as lost what has had no checkpoint or heartbeat for long, in whichever worker."""
        executions = self._executions
        if executions.unavailable_reason is not None:
            return
        silent_since_ms = executions.attention.now_ms() - executions.settings.silence_ms_max
        silent = [
            running for running in executions.running if running.heartbeat_ms < silent_since_ms
        ]
        await self._record_lost(silent)

    async def reoffer(self, row: ExecutionRow) -> None:
        """Offer an execution that wants a worker according to the database."""
        executions = self._executions
        if row.key in executions.running or row.key in executions.quarantine:
            return
        if executions.claims.is_being_claimed(row.key):
            return
        if row.status == "RUNNING":
            now_ms = executions.clock.now_ms()
            is_start = row.sequence == 1
            executions.matching.offer(Task(row.key, row.namespace, row.function, now_ms, is_start))
            return
        # Its pause waits for the end of an invocation that perhaps no worker runs any more.
        with contextlib.suppress(Unknown, Quarantined):
            execution = await executions.committed(row.key)
            if is_unclaimed(executions, execution):
                await record_unclaimed(executions, execution).wait()

    async def _record_lost(self, lost: Sequence[RunningInvocation]) -> None:
        """Record invocations as lost, except those that were claimed again meanwhile.

        Raises StoreError; then what was not recorded still counts as running.
        """
        executions = self._executions
        batches: list[Submission] = []
        for running in lost:
            try:
                execution = await executions.get(running.key)
                if executions.running.get(running.key) is running:
                    batch = record_lost(executions, execution, running)
                    if batch is not None:
                        batches.append(batch)
            except (Unknown, Quarantined):
                executions.running.remove(running.key)
        for batch in batches:
            await batch.wait()
            executions.metrics.invocations["lost"].inc()

    def _answer(self, execution: CachedExecution, decoded: CheckpointToken) -> CheckpointAnswer:
        """Return the answer to the accepted checkpoint.

        Built at once, because the state may move on before the checkpoint is durable.
        """
        state = execution.state
        last = state.last_call
        assert last is not None
        token = ""
        if not last.revoked:
            following = current_token(state, decoded.invocation_id, decoded.started_ms)
            token = self._signer.sign_token(execution.key, following)
        operations = tuple([_copied(each) for each in changed_operations(state)])
        return CheckpointAnswer(execution.key, token, operations)

    def _add_running(
        self, key: ExecutionKey, decoded: CheckpointToken, worker_id: str | None
    ) -> None:
        now_ms = self._executions.attention.now_ms()
        self._executions.running.add(
            RunningInvocation(
                key=key,
                invocation_id=decoded.invocation_id,
                worker_id=worker_id,
                turn=decoded.number,
                started_ms=decoded.started_ms,
                heartbeat_ms=now_ms,
                attached_ms=now_ms,
            )
        )

    def _record_heartbeat(self, key: ExecutionKey, decoded: CheckpointToken) -> None:
        running = self._executions.running.get(key)
        if running is None or running.invocation_id != decoded.invocation_id:
            self._add_running(key, decoded, None)
        else:
            running.heartbeat_ms = self._executions.attention.now_ms()

    def _require_durable(self, state: State, updates: tuple[OperationUpdate, ...]) -> None:
        """Raise Invalid when a plain function is about to record its first operation.

        An execution that has operations goes on, whatever its function is registered as now.
        """
        if not updates or state.operations:
            return
        if self._executions.functions.is_plain(state.namespace, state.function):
            raise Invalid(
                f"function {state.function!r} is registered as a plain function, whose "
                "executions record no operations: register it as durable, or return the result "
                "without a checkpoint"
            )

    def _callback_ids(
        self, key: ExecutionKey, updates: tuple[OperationUpdate, ...]
    ) -> dict[str, str]:
        return {
            update.id: self._signer.sign_callback(key, update.id)
            for update in updates
            if update.type is OperationType.CALLBACK and update.id.isascii()
        }

    def _targets(self, state: State, updates: tuple[OperationUpdate, ...]) -> dict[str, bool]:
        functions = self._executions.functions
        return {
            update.function: functions.exists(state.namespace, update.function)
            for update in updates
            if update.function is not None
        }

    def _page(
        self, execution: CachedExecution, position: int, limit: int, *, alone: bool = True
    ) -> StatePage:
        """Return copies of operations from the position on, because the state moves on meanwhile.

        An operation that is too large for a page gets one `alone`, or else is left to the next.
        """
        state = execution.state
        bytes_left = self._executions.settings.state_page_bytes
        operations: list[Operation] = []
        marker = ""
        for number, operation in _visible_from(state, position):
            bytes_left -= _size_of(operation)
            full = bytes_left < 0 and (bool(operations) or not alone)
            if full or len(operations) == limit:
                marker = pack_marker("state", (number,))
                break
            operations.append(_copied(operation))
        return StatePage(execution.key, tuple(operations), marker)

    async def _execution(self, key: ExecutionKey) -> CachedExecution:
        try:
            return await self._executions.get(key)
        except Unknown as unknown:
            raise StaleToken("Invalid checkpoint token: its execution is gone") from unknown

    async def _committed(self, key: ExecutionKey) -> CachedExecution:
        try:
            return await self._executions.committed(key)
        except Unknown as unknown:
            raise StaleToken("Invalid checkpoint token: its execution is gone") from unknown


_OUTCOMES: Final[dict[CompletionStatus, InvocationOutcome]] = {
    CompletionStatus.SUCCEEDED: "succeeded",
    CompletionStatus.FAILED: "failed",
    CompletionStatus.PENDING: "pending",
    CompletionStatus.ERROR: "error",
    CompletionStatus.DIVERGED: "diverged",
}


def _log_divergence(state: State, error: ErrorObject | None) -> None:
    text = "" if error is None else error.message or error.type or ""
    _log.error(
        "a replay diverged from the history; the execution is paused",
        execution_arn=arn_of(identity_of(state)),
        difference=cut_chars(
            " | ".join(line.strip() for line in text.splitlines()), REASON_CHARS_MAX
        ),
    )


def _with_texts(page: StatePage, texts: Mapping[StoredPayload, str]) -> StatePage:
    if not texts:
        return page
    operations = tuple([inline_operation(each, texts) for each in page.operations])
    return msgspec.structs.replace(page, operations=operations)


def _visible_from(state: State, position: int) -> Iterator[tuple[int, Operation]]:
    """Yield what a replay needs from a position on; the EXECUTION operation is at 0."""
    if position == 0:
        yield 0, execution_operation(state)
    for number, operation in visible_from(state, max(position - 1, 0)):
        yield number + 1, operation


def _may_go_on(state: State, decoded: CheckpointToken) -> bool:
    """Return whether the token may act, or was used for an accepted call whose answer got lost."""
    if is_current(state, decoded):
        return True
    last = state.last_call
    return (
        is_open(state)
        and last is not None
        and last.turn == decoded.number
        and state.invocation_id == decoded.invocation_id
    )


def _copied(operation: Operation) -> Operation:
    return msgspec.structs.replace(operation, details=copy.copy(operation.details))


def _size_of(operation: Operation) -> int:
    """Return roughly the size of the operation on the wire, in bytes."""
    details = operation.details
    payload = details.input if isinstance(details, ExecutionDetails) else None
    return 200 + bytes_of(payload) + outcome_bytes(operation)
