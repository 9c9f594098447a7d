"""Commands of clients: start, stop, pause, resume and delete executions, complete callbacks."""

import asyncio
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from typing import Final

from perdure_core.commands import (
    Command,
    CompleteCallback,
    Delete,
    HeartbeatCallback,
    Pause,
    Resume,
    Start,
    Stop,
)
from perdure_core.decision import ReportEnd, StartChild
from perdure_core.events import ExecutionStarted, ParentLink, Record, decode_record
from perdure_core.execution import begin
from perdure_core.identity import ExecutionIdentity, arn_of, bucket_of, parse_arn
from perdure_core.json_text import is_same_value
from perdure_core.limits import (
    COMPARED_INPUT_BYTES_MAX,
    EXECUTION_TIMEOUT_S_MAX,
    RETENTION_DAYS_DEFAULT,
)
from perdure_core.model import ErrorObject
from perdure_core.payload import StoredPayload, bytes_of, text_of
from perdure_core.refusals import NameTaken, Quarantined, Unknown
from perdure_core.start_validation import check_start
from perdure_core.state import State, identity_of
from perdure_core.validation import check_tenancy
from perdure_history.committer import Submission
from perdure_history.execution_cache import (
    SWEPT_SOON_MS,
    CachedExecution,
    expires_ms,
    is_name_free,
    with_identity,
)
from perdure_history.executions import Executions
from perdure_history.ids import new_id
from perdure_history.name_lookup import NameLookup
from perdure_history.outbox import outbox_rows
from perdure_host.errors import StoreError, StoreUnavailable, Unreadable
from perdure_host.ports import ExecutionKey, ExecutionName, ExecutionRow, FunctionRow, OutboxRow
from perdure_host.quarantine import in_words
from perdure_host.services import StartAnswer, StartRequest, key_of, key_of_identity
from perdure_host.telemetry import open_log
from perdure_host.tokens import Signer

_DIGEST_BYTES: Final = 16

_log = open_log("perdure.history")


class ClientCalls:
    """Implements `ExecutionCommands`."""

    def __init__(self, executions: Executions, signer: Signer) -> None:
        self._executions = executions
        self._signer = signer
        self._names = NameLookup(executions.store)
        # Names whose start is in progress, so that two equal starts meet in memory.
        self._starting: dict[ExecutionName, asyncio.Event] = {}

    async def start(self, request: StartRequest) -> StartAnswer:
        """Start an execution, or find the equal one of that name."""
        executions = self._executions
        executions.require_ready()
        check_start(request, request.fields)
        function = self._function(request)
        check_tenancy(request.tenant_id, isolated=function.tenant_isolation)
        name = new_id() if request.name is None else request.name
        identity = ExecutionIdentity(request.namespace, function.name, name, new_id())
        start = Start(
            namespace=request.namespace,
            function=function.name,
            name=name,
            execution_id=identity.execution_id,
            timeout_s=_or_default(request.timeout_s, function.execution_timeout_s),
            retention_days=_or_default(request.retention_days, function.retention_days),
            input=request.input,
            tenant_id=request.tenant_id,
            trace_header=request.trace_header,
            client_context=request.client_context,
        )
        if request.name is None:
            bucket = bucket_of(start.namespace, start.function, start.name)
            await self._create(start, bucket).wait()
            return StartAnswer(arn_of(identity), started=True)
        taken = await self._create_named(start)
        if taken is None:
            return StartAnswer(arn_of(identity), started=True)
        if taken.input_digest != _digest(start) and not await self._is_equal(taken, start):
            raise NameTaken(
                f"execution {name!r} of function {function.name!r} was started with another input"
                " or for another tenant"
            )
        return StartAnswer(arn_of(taken.identity), started=False)

    async def register_functions(self, functions: Sequence[FunctionRow]) -> None:
        """Register functions before there is a worker; return once they are durable."""
        executions = self._executions
        executions.require_ready()
        await executions.functions.register(executions.committer.incarnation, functions)

    async def start_child(self, child: StartChild, row: OutboxRow) -> None:
        """Start the execution of a chained invoke, and delete the outbox row in the same commit.

        Raises refusals, and then the row stays.
        """
        executions = self._executions
        function = executions.functions.get(child.namespace, child.function)
        check_tenancy(child.tenant_id, isolated=function.tenant_isolation)
        start = Start(
            namespace=child.namespace,
            function=child.function,
            name=child.name,
            execution_id=child.execution_id,
            timeout_s=function.execution_timeout_s,
            retention_days=function.retention_days,
            input=text_of(child.input),
            parent=child.parent,
            tenant_id=child.tenant_id,
            trace_header=child.trace_header,
        )
        taken = await self._create_named(start, outbox_done=(row,))
        if taken is None:
            return
        if taken.key.execution_id != child.execution_id:
            raise NameTaken(f"the name {child.name!r} belongs to another execution")
        await executions.delete_outbox(row).wait()

    async def stop(self, arn: str, error: ErrorObject | None) -> int:
        """End the execution as STOPPED; return when it ended."""
        state = await self._command(arn, Stop(error))
        assert state.ended_ms is not None
        return state.ended_ms

    async def pause(self, arn: str, *, reason: str | None, timeout_paused: bool) -> str:
        """Hand out no more invocations; return the new status."""
        execution = await self._execution(arn)
        command = Pause(
            running=execution.key in self._executions.running,
            reason=reason,
            timeout_paused=timeout_paused,
        )
        await self._executions.execute(execution, command)
        return execution.state.status

    async def resume(self, arn: str, *, reason: str | None) -> str:
        """Withdraw a pause, or read again what is quarantined; return the new status."""
        key = key_of(arn)
        if key in self._executions.quarantine:
            return (await self._retry(key)).status
        return (await self._command(arn, Resume(reason))).status

    async def delete(self, arn: str) -> int:
        """Make it due for the retention sweep; return when that was first requested."""
        executions = self._executions
        try:
            execution = await self._execution(arn)
        except Quarantined:
            # There is no state that a decision could be made on.
            return await self._delete_quarantined(key_of(arn))
        state = execution.state
        now_ms = executions.clock.now_ms()
        expires = expires_ms(state)
        if state.deleted_ms is None and expires is not None and expires <= now_ms + SWEPT_SOON_MS:
            await executions.wait_committed(execution)
            return now_ms
        await executions.execute(execution, Delete())
        assert state.deleted_ms is not None
        return state.deleted_ms

    async def succeed_callback(
        self, callback_id: str, result: str | None, *, accept_equal: bool = True
    ) -> None:
        """Complete a callback with a result."""
        key, operation_id = self._signer.read_callback(callback_id)
        command = CompleteCallback(
            operation_id=operation_id, succeeded=True, result=result, accept_equal=accept_equal
        )
        await self._executions.command(key, command)

    async def fail_callback(
        self, callback_id: str, error: ErrorObject, *, accept_equal: bool = True
    ) -> None:
        """Complete a callback with an error."""
        key, operation_id = self._signer.read_callback(callback_id)
        command = CompleteCallback(
            operation_id=operation_id, succeeded=False, error=error, accept_equal=accept_equal
        )
        await self._executions.command(key, command)

    async def heartbeat_callback(self, callback_id: str) -> None:
        """Restart a callback's heartbeat timeout."""
        key, operation_id = self._signer.read_callback(callback_id)
        await self._executions.command(key, HeartbeatCallback(operation_id))

    async def callback_arn(self, callback_id: str) -> str:
        """Return the ARN of the execution that the callback belongs to."""
        key, _ = self._signer.read_callback(callback_id)
        return arn_of(identity_of((await self._executions.committed(key)).state))

    def _function(self, request: StartRequest) -> FunctionRow:
        """Return the function, or what is assumed of one that is not registered yet."""
        functions = self._executions.functions
        known = functions.exists(request.namespace, request.function)
        if known or not request.accept_unknown:
            return functions.get(request.namespace, request.function)
        return FunctionRow(
            namespace=request.namespace,
            name=request.function,
            execution_timeout_s=EXECUTION_TIMEOUT_S_MAX,
            retention_days=RETENTION_DAYS_DEFAULT,
            durable=True,
            tenant_isolation=request.tenant_id is not None,
        )

    async def _is_equal(self, taken: ExecutionRow, start: Start) -> bool:
        """Return whether an execution was started for the same tenant with the same JSON value."""
        try:
            state = (await self._executions.get(taken.key)).state
            if state.tenant_id != start.tenant_id:
                return False
            if max(bytes_of(state.input), bytes_of(start.input)) > COMPARED_INPUT_BYTES_MAX:
                return False
            recorded = state.input
            if isinstance(recorded, StoredPayload):
                recorded = (await self._executions.payloads.texts(taken.key, (recorded,)))[recorded]
        except Unknown:  # it was swept meanwhile, and its input is gone
            return False
        return is_same_value(_as_read(text_of(recorded)), _as_read(start.input))

    async def _create_named(
        self, start: Start, outbox_done: tuple[OutboxRow, ...] = ()
    ) -> ExecutionRow | None:
        """Start an execution and return None, or return the one that has the name already."""
        # Refuse malformed requests before any read.
        begin(start, self._executions.clock.now_ms())
        bucket = bucket_of(start.namespace, start.function, start.name)
        name = ExecutionName(bucket, start.namespace, start.function, start.name)
        while (in_progress := self._starting.get(name)) is not None:
            await in_progress.wait()
        self._starting[name] = asyncio.Event()
        try:
            taken = await self._find(name)
            replaces = None
            if taken is not None and self._gives_way(taken, start):
                replaces = taken.key
                taken = None
            batch = self._create(start, bucket, outbox_done, replaces) if taken is None else None
        except BaseException:
            self._release(name)
            raise
        if batch is None:
            self._release(name)
            return taken
        # A caller that is cancelled must not release the name before the commit is durable.
        batch.at_end(partial(self._release, name))
        await batch.wait()
        return None

    def _release(self, name: ExecutionName) -> None:
        """Unblock the next start of the name, which looks the name up."""
        self._starting.pop(name).set()

    async def _find(self, name: ExecutionName) -> ExecutionRow | None:
        """Return the execution of this name. Raises StoreUnavailable after a reload meanwhile."""
        executions = self._executions
        executions.require_ready()
        epoch = executions.epoch
        row = await self._names.find(name)
        if epoch != executions.epoch:
            raise StoreUnavailable("the node reloaded during the lookup of the name")
        return row

    def _gives_way(self, taken: ExecutionRow, start: Start) -> bool:
        """Return whether the execution that has the name is deleted, but not swept yet."""
        is_same = taken.key.execution_id == start.execution_id
        return not is_same and is_name_free(taken, self._executions.clock.now_ms())

    def _create(
        self,
        start: Start,
        bucket: int,
        outbox_done: tuple[OutboxRow, ...] = (),
        replaces: ExecutionKey | None = None,
    ) -> Submission:
        executions = self._executions
        record = begin(start, executions.clock.now_ms())
        key = ExecutionKey(bucket, start.execution_id)
        return executions.create(key, record, _digest(start), outbox_done, replaces)

    async def _retry(self, key: ExecutionKey) -> State:
        """Read an execution again that was set aside. Raises Quarantined if it still is."""
        executions = self._executions
        executions.quarantine.release(key)
        execution = await executions.committed(key)
        executions.timers.moved(key, execution.state.alarms.next_due_ms())
        executions.offer(execution)
        executions.quarantine.on_retried()
        return execution.state

    async def _delete_quarantined(self, key: ExecutionKey) -> int:
        """Delete an execution that is set aside, with everything that it owns."""
        executions = self._executions
        # What was decided before it was set aside may still be on its way.
        await executions.committer.flush()
        report = await self._report_deletion(key)
        await executions.store.delete(executions.committer.incarnation, key, report)
        executions.quarantine.release(key)
        executions.timers.moved(key, None)
        executions.on_outbox(report)
        return executions.clock.now_ms()

    async def _report_deletion(self, key: ExecutionKey) -> tuple[OutboxRow, ...]:
        """Return what tells the parent of an execution that it is deleted, if it has one.

        The parent is named by the first record alone.
        """
        try:
            first, *_ = await self._executions.store.read_records(key, from_event_id=1, limit=1)
            parent = _parent_of(key, decode_record(first.body))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the bytes are, this can be deleted
            _log.warning(
                "an execution is deleted whose first record cannot be read; its parent, if it has"
                " one, hears nothing",
                execution_id=key.execution_id,
                error=in_words(error),
            )
            return ()
        if parent is None:
            return ()
        reason = ErrorObject(
            f"execution {key.execution_id} was deleted because what was stored of it could not be"
            " read",
            Quarantined.__name__,
        )
        # No record has the number 0, so no row has this id.
        return outbox_rows(key, 0, [ReportEnd(parent=parent, status="FAILED", error=reason)])

    async def _command(self, arn: str, command: Command) -> State:
        execution = await self._execution(arn)
        await self._executions.execute(execution, command)
        return execution.state

    async def _execution(self, arn: str) -> CachedExecution:
        identity = parse_arn(arn)
        return with_identity(await self._executions.get(key_of_identity(identity)), identity)


def _parent_of(key: ExecutionKey, record: Record) -> ParentLink | None:
    """Return the parent that the first record of an execution names. Raises Unreadable."""
    for event in record.events:
        if isinstance(event, ExecutionStarted) and event.execution_id == key.execution_id:
            return event.parent
    raise Unreadable("it does not start this execution")


def _or_default(value: int | None, default: int) -> int:
    return default if value is None else value


def _as_read(text: str | None) -> str:
    """Return the input as handlers read it: without one, or with blanks alone, it is `{}`."""
    return text if text and not text.isspace() else "{}"


def _digest(start: Start) -> bytes:
    """Return a digest of input and tenant. Starts with the same one are equal; others may be.

    Absent and empty inputs differ.
    """
    # Without a tenant the key is empty, and the digest is that of the input alone.
    key = b""
    if start.tenant_id is not None:
        key = blake2b(start.tenant_id.encode(), digest_size=_DIGEST_BYTES).digest()
    if start.input is None:
        return key
    return blake2b(start.input.encode(), key=key, digest_size=_DIGEST_BYTES).digest()
