"""What clients ask of history: start, look, act, complete callbacks."""

import asyncio
from hashlib import blake2b
from typing import Final

from perdure_core import limits
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
from perdure_core.decision import StartChild
from perdure_core.execution import begin
from perdure_core.form import check_error, check_identifier
from perdure_core.identity import ExecutionIdentity, arn_of, bucket_of, parse_arn
from perdure_core.model import ErrorObject
from perdure_core.refusals import NameTaken, Unknown
from perdure_core.state import State, is_open
from perdure_host.ports import ExecutionKey, OutboxRow
from perdure_host.services import StartAnswer, StartRequest
from perdure_host.tokens import Signer

from perdure_history.chance import new_id
from perdure_history.executions import Executions
from perdure_history.slot import Slot

_DIGEST_BYTES: Final = 16

Name = tuple[str, str, str]


class ClientCalls:
    """The client's half of the history service."""

    def __init__(self, executions: Executions, signer: Signer) -> None:
        self._executions = executions
        self._signer = signer
        # Names whose start is under way, so that two equal starts meet in memory.
        self._starting: dict[Name, asyncio.Event] = {}

    async def start(self, request: StartRequest) -> StartAnswer:
        """Start, or find the equal execution of that name."""
        executions = self._executions
        executions.require_ready()
        check_identifier("function name", request.function, limits.FUNCTION_NAME_CHARS_MAX)
        function = executions.functions.get(request.namespace, request.function)
        name = new_id() if request.name is None else request.name
        identity = ExecutionIdentity(request.namespace, function.name, name, new_id())
        start = Start(
            namespace=request.namespace,
            function=function.name,
            name=name,
            execution_id=identity.execution_id,
            timeout_s=_given(request.timeout_s, function.execution_timeout_s),
            retention_days=_given(request.retention_days, function.retention_days),
            input=request.input,
        )
        if request.name is None:
            await self._create(start)
            return StartAnswer(arn_of(identity), started=True)
        return await self._start_named(start)

    async def start_child(self, child: StartChild, row: OutboxRow) -> None:
        """Start the execution of a chained invoke, and settle the outbox row in the same commit."""
        executions = self._executions
        function = executions.functions.get(child.namespace, child.function)
        bucket = bucket_of(child.namespace, child.function, child.name)
        key = ExecutionKey(bucket, child.execution_id)
        if await executions.store.get(key) is not None:
            await executions.committer.submit(None, outbox_done=(row,)).wait()
            return
        start = Start(
            namespace=child.namespace,
            function=child.function,
            name=child.name,
            execution_id=child.execution_id,
            timeout_s=function.execution_timeout_s,
            retention_days=function.retention_days,
            input=child.input,
            parent=child.parent,
            tenant_id=child.tenant_id,
        )
        await self._create(start, outbox_done=(row,))

    async def describe(self, arn: str) -> State:
        """Return the committed state."""
        return (await self._settled(arn)).state

    async def wait_ended(self, arn: str, wait_ms: int) -> None:
        """Return when the execution has ended, or after this long."""
        executions = self._executions
        slot = await self._settled(arn)
        if not is_open(slot.state):
            return
        deadline_ms = executions.clock.now_ms() + wait_ms
        with executions.notices.watch(slot.key) as moved:
            due = asyncio.ensure_future(executions.clock.wait_until(deadline_ms))
            try:
                while is_open((await executions.settled(slot.key)).state):
                    moving = asyncio.ensure_future(moved.wait())
                    await asyncio.wait((due, moving), return_when=asyncio.FIRST_COMPLETED)
                    moving.cancel()
                    if due.done():
                        return
                    moved.clear()
            finally:
                due.cancel()

    async def stop(self, arn: str, error: ErrorObject | None) -> int:
        """End the execution; return when it ended."""
        check_error("stop error", error)
        state = await self._command(arn, Stop(error))
        assert state.ended_ms is not None
        return state.ended_ms

    async def pause(self, arn: str, *, reason: str | None, timeout_paused: bool) -> str:
        """Begin no more invocations; return the new status."""
        key = self._key(arn)
        command = Pause(
            running=key in self._executions.running, reason=reason, timeout_paused=timeout_paused
        )
        return (await self._command(arn, command)).status

    async def resume(self, arn: str, *, reason: str | None) -> str:
        """Take a pause back; return the new status."""
        return (await self._command(arn, Resume(reason))).status

    async def delete(self, arn: str) -> int:
        """Let retention sweep it now; return when that was first asked for."""
        state = await self._command(arn, Delete())
        assert state.deleted_ms is not None
        return state.deleted_ms

    async def succeed_callback(self, callback_id: str, result: str | None) -> None:
        """Complete a callback with a result."""
        key, operation_id = self._signer.read_callback(callback_id)
        command = CompleteCallback(operation_id=operation_id, succeeded=True, result=result)
        await self._executions.command(key, command)

    async def fail_callback(self, callback_id: str, error: ErrorObject) -> None:
        """Complete a callback with an error."""
        key, operation_id = self._signer.read_callback(callback_id)
        command = CompleteCallback(operation_id=operation_id, succeeded=False, error=error)
        await self._executions.command(key, command)

    async def heartbeat_callback(self, callback_id: str) -> None:
        """Start a callback's heartbeat timeout anew."""
        key, operation_id = self._signer.read_callback(callback_id)
        await self._executions.command(key, HeartbeatCallback(operation_id))

    async def _start_named(self, start: Start) -> StartAnswer:
        name = (start.namespace, start.function, start.name)
        while (under_way := self._starting.get(name)) is not None:
            await under_way.wait()
        ended = self._starting[name] = asyncio.Event()
        try:
            return await self._find_or_create(start)
        finally:
            del self._starting[name]
            ended.set()

    async def _find_or_create(self, start: Start) -> StartAnswer:
        bucket = bucket_of(start.namespace, start.function, start.name)
        begin(start, self._executions.clock.now_ms())  # refuse bad form before reading
        row = await self._executions.store.find(bucket, start.namespace, start.function, start.name)
        if row is None:
            await self._create(start)
            return StartAnswer(arn_of(_identity(start, start.execution_id)), started=True)
        if row.input_digest != _digest(start.input):
            raise NameTaken(
                f"execution {start.name!r} of function {start.function!r} was started with another input"
            )
        return StartAnswer(arn_of(_identity(start, row.key.execution_id)), started=False)

    async def _create(self, start: Start, outbox_done: tuple[OutboxRow, ...] = ()) -> None:
        executions = self._executions
        record = begin(start, executions.clock.now_ms())
        bucket = bucket_of(start.namespace, start.function, start.name)
        key = ExecutionKey(bucket, start.execution_id)
        await executions.create(key, record, _digest(start.input), outbox_done).wait()

    async def _command(self, arn: str, command: Command) -> State:
        await self._settled(arn)
        return (await self._executions.command(self._key(arn), command)).state

    async def _settled(self, arn: str) -> Slot:
        """Return the execution that the ARN names in every part."""
        slot = await self._executions.settled(self._key(arn))
        state = slot.state
        wanted = parse_arn(arn)
        if (state.function, state.name) != (wanted.function, wanted.name):
            raise Unknown(f"no execution {arn}")
        return slot

    def _key(self, arn: str) -> ExecutionKey:
        return key_of(arn)


def key_of(arn: str) -> ExecutionKey:
    """Return where the execution of the ARN lives. Raises Invalid."""
    identity = parse_arn(arn)
    bucket = bucket_of(identity.namespace, identity.function, identity.name)
    return ExecutionKey(bucket, identity.execution_id)


def _identity(start: Start, execution_id: str) -> ExecutionIdentity:
    return ExecutionIdentity(start.namespace, start.function, start.name, execution_id)


def _given(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _digest(payload: str | None) -> bytes:
    """Return what tells one input from another; absent and empty differ."""
    if payload is None:
        return b""
    return blake2b(payload.encode(), digest_size=_DIGEST_BYTES).digest()
