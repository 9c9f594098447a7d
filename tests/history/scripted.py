"""A worker that runs small scripts by replay, and a ledger of what was seen outside the system.

Each passing of an operation goes by what the state says. A step's result tells which run of its
body made it, so that a result which was recorded and lost again, or made up, cannot go unnoticed.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import msgspec

from perdure_core.commands import CompletionStatus
from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ErrorObject,
    Operation,
    OperationUpdate,
    StepDetails,
)
from perdure_core.payload import text_of
from perdure_core.refusals import CallbackClosed, Ended, StaleToken
from perdure_host.errors import StoreError
from perdure_host.services import CheckpointAnswer, InvocationOffer, Task
from tests.history.manual_worker import update
from tests.history.simulation import Host, HostGone, Simulation

AGAIN_MS: Final = 200
Answer = TypeVar("Answer")


class Step(msgspec.Struct, frozen=True):
    id: str
    # Attempts that fail before one succeeds.
    fails: int = 0
    at_most_once: bool = False


class Wait(msgspec.Struct, frozen=True):
    id: str
    ms: int = 5_000


class Callback(msgspec.Struct, frozen=True):
    id: str


class Invoke(msgspec.Struct, frozen=True):
    id: str


Script = tuple[Step | Wait | Callback | Invoke, ...]


class Suspended(BaseException):
    """The handler has nothing to do for now."""


class Ledger:
    """What really happened, as an outsider saw it."""

    def __init__(self) -> None:
        self.runs = 0
        self.bodies: Counter[tuple[str, str, int]] = Counter()
        # Results whose checkpoint was acknowledged.
        self.acknowledged: dict[tuple[str, str], str] = {}
        self.ended: dict[str, str] = {}
        # Ids of callbacks that were given out, by ARN and operation.
        self.callbacks: dict[tuple[str, str], str] = {}


class ScriptedWorker:
    """Hosts functions, given as scripts. `dice` lets answers get lost and calls be repeated."""

    def __init__(
        self,
        simulation: Simulation,
        scripts: Mapping[str, Script],
        *,
        worker_id: str = "scripted",
        slots: int = 1_000,
        ledger: Ledger | None = None,
        dice: random.Random | None = None,
        trouble_share: float = 0.0,
    ) -> None:
        self.simulation = simulation
        self.scripts = scripts
        self.worker_id = worker_id
        self.slots = slots
        self.ledger = ledger or Ledger()
        self.held: dict[str, Run] = {}
        # What should never go wrong in a script, and did.
        self.failures: list[BaseException] = []
        self.connected = asyncio.Event()
        self._dice = dice or random.Random(0)
        self._trouble_share = trouble_share
        self._host: Host | None = None
        self._beginning: set[asyncio.Task[None]] = set()
        self._departures: set[asyncio.Task[None]] = set()
        self.attach(simulation.host)
        simulation.workers.append(self)

    # Being there.

    def attach(self, host: Host) -> None:
        """Connect to a node with all free slots."""
        self._host = host
        functions = [("default", name) for name in self.scripts]
        host.matching.attach(self.worker_id, functions, lambda task: self._deliver(host, task))
        free = self.slots - len(self.held)
        if free > 0:
            host.matching.credit(self.worker_id, free)
        self.connected.set()

    async def connect(self) -> None:
        """Claim what runs at the present node, and come to it. Raises what a node may say."""
        host = self.simulation.host
        self._host = host
        runs = {run.token: run for run in self.held.values()}
        claiming = host.history.invocations.claim([*runs], self.worker_id)
        for token in await host.call(claiming):
            runs[token].drop()
        self.attach(host)

    def disconnect(self) -> None:
        """Break the stream; the worker itself goes on, and the node notices."""
        if not self.connected.is_set():
            return
        self.connected.clear()
        host = self.simulation.host
        host.matching.detach(self.worker_id)
        departure = asyncio.get_running_loop().create_task(self._report_lost(host))
        self._departures.add(departure)
        departure.add_done_callback(self._departures.discard)

    def die(self) -> None:
        """End at once with everything that runs."""
        self.disconnect()
        for run in [*self.held.values()]:
            run.drop()

    async def _report_lost(self, host: Host) -> None:
        while self._beginning:
            await asyncio.wait(self._beginning)
        while not host.is_down and not self.connected.is_set():
            with contextlib.suppress(StoreError, HostGone):
                await host.call(host.history.invocations.worker_lost(self.worker_id))
                return
            await self.simulation.clock.wait_until(self.simulation.clock.now_ms() + 1_000)

    def recover(self) -> None:
        """Lose no more answers."""
        self._trouble_share = 0.0

    async def tick(self) -> None:
        host = self.simulation.host
        if not self.connected.is_set() or host.is_down or self._host is not host:
            return
        try:
            gone = await host.call(
                host.history.invocations.heartbeat(self.worker_id, tuple(self.held))
            )
        except (StoreError, HostGone):
            return
        for invocation_id in gone:
            if invocation_id in self.held:
                self.held[invocation_id].drop()

    async def finish(self) -> None:
        self.disconnect()
        assert self.failures == []

    # Taking tasks.

    def _deliver(self, host: Host, task: Task) -> None:
        beginning = asyncio.get_running_loop().create_task(self._begin(host, task))
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)

    async def _begin(self, host: Host, task: Task) -> None:
        try:
            offer = await host.call(host.history.invocations.begin(task.key, self.worker_id))
        except HostGone:
            return
        except StoreError:
            await self.simulation.clock.wait_until(self.simulation.clock.now_ms() + 1_000)
            if not host.is_down:
                host.matching.offer(task)
                self._free(host)
            return
        if offer is None:
            self._free(host)
        elif self.connected.is_set() and self._host is host:
            run = Run(self, offer)
            self.held[run.invocation_id] = run
        elif not host.is_down:
            try:
                await host.call(host.history.invocations.hand_back([offer.token]))
            except (StoreError, HostGone):
                return

    def release(self, run: "Run") -> None:
        """Forget an invocation that has ended here."""
        del self.held[run.invocation_id]
        if self._host is not None and not self._host.is_down and self.connected.is_set():
            self._free(self._host)

    def _free(self, host: Host) -> None:
        if self._host is host and self.connected.is_set():
            host.matching.credit(self.worker_id, 1)

    # Asking.

    async def ask(self, question: Callable[[Host], Coroutine[Any, Any, Answer]]) -> Answer:
        """Ask until there is an answer; it may get lost on its way, and then comes for a repeat."""
        while True:
            await self.connected.wait()
            host = self.simulation.host
            with contextlib.suppress(StoreError, HostGone):
                answer = await host.call(question(host))
                if self._dice.random() >= self._trouble_share:
                    return answer
            await self.simulation.clock.wait_until(self.simulation.clock.now_ms() + AGAIN_MS)


class Run:
    """One invocation that runs in the worker."""

    def __init__(self, worker: ScriptedWorker, offer: InvocationOffer) -> None:
        self.invocation_id = offer.invocation_id
        self.token = offer.token
        self._worker = worker
        self._ledger = worker.ledger
        self._arn = offer.arn
        self._script = worker.scripts[offer.function]
        self._operations: dict[str, Operation] = {}
        self._offer = offer
        self._calls = 0
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    def drop(self) -> None:
        """Stop at once: the token is stale, or the worker dies."""
        self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._worker.release(self)
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a script failed", "exception": error}
            )
            self._worker.failures.append(error)

    async def _run(self) -> None:
        try:
            await self._read_state()
            try:
                results = [await self._pass(item) for item in self._script]
            except Suspended:
                await self._complete("PENDING", None)
            else:
                await self._complete("SUCCEEDED", json.dumps(results))
        except StaleToken:
            return

    async def _read_state(self) -> None:
        page = self._offer.page
        self._see(page.operations)
        while page.next_marker:
            marker = page.next_marker
            page = await self._worker.ask(
                lambda host, marker=marker: host.history.invocations.state_page(
                    self.token, marker, 0
                )  # type: ignore[misc]
            )
            self._see(page.operations)

    async def _complete(self, status: str, result: str | None) -> None:
        token = self.token
        await self._worker.ask(
            lambda host: host.history.invocations.complete(
                token, CompletionStatus(status), result=result, error=None
            )
        )
        if status == "SUCCEEDED":
            assert result is not None
            self._ledger.ended[self._arn] = result

    async def _checkpoint(self, *updates: OperationUpdate) -> None:
        self._calls += 1
        token, client_token = self.token, f"{self.invocation_id[:16]}-{self._calls}"
        answer: CheckpointAnswer = await self._worker.ask(
            lambda host: host.history.invocations.checkpoint(token, client_token, updates)
        )
        self._see(answer.operations)
        if not answer.token:
            raise Suspended
        self.token = answer.token

    def _see(self, operations: tuple[Operation, ...]) -> None:
        self._operations.update((operation.id, operation) for operation in operations)

    async def _pass(self, item: Step | Wait | Callback | Invoke) -> str | None:
        match item:
            case Step():
                return await self._step(item)
            case Wait():
                return await self._await(item.id, update("WAIT", "START", item.id, wait_ms=item.ms))
            case Callback():
                result = self._await(item.id, update("CALLBACK", "START", item.id))
                return await result
            case Invoke():
                start = update("CHAINED_INVOKE", "START", item.id, payload=f'"{item.id}"')
                return await self._await(item.id, start)

    async def _await(self, operation_id: str, start: OperationUpdate) -> str | None:
        if operation_id not in self._operations:
            await self._checkpoint(start)
        operation = self._operations[operation_id]
        details = operation.details
        if isinstance(details, CallbackDetails):
            self._ledger.callbacks[self._arn, operation_id] = details.callback_id
        if operation.status == "STARTED":
            raise Suspended
        assert operation.status == "SUCCEEDED", operation
        if isinstance(details, CallbackDetails | ChainedInvokeDetails):
            return text_of(details.result)
        return None

    async def _step(self, item: Step) -> str | None:
        operation = self._operations.get(item.id)
        if operation is not None and operation.status == "SUCCEEDED":
            return self._recorded(item, operation)
        if operation is not None and operation.status == "PENDING":
            raise Suspended
        attempt = 1
        if operation is not None:
            assert isinstance(operation.details, StepDetails)
            attempt = operation.details.attempt + 1
        is_started = operation is not None and operation.status == "STARTED"
        start = () if is_started else (update("STEP", "START", item.id),)
        if not item.at_most_once:
            return await self._attempt(item, attempt, start)
        if is_started:
            return await self._retry(item, attempt, (), "interrupted")
        await self._checkpoint(*start)
        return await self._attempt(item, attempt, ())

    async def _attempt(
        self, item: Step, attempt: int, start: tuple[OperationUpdate, ...]
    ) -> str | None:
        ledger = self._ledger
        ledger.runs += 1
        ledger.bodies[self._arn, item.id, attempt] += 1
        if attempt <= item.fails:
            return await self._retry(item, attempt, start, "failed")
        result = f'"{item.id} {attempt} {ledger.runs}"'
        await self._checkpoint(*start, update("STEP", "SUCCEED", item.id, payload=result))
        ledger.acknowledged[self._arn, item.id] = result
        return result

    async def _retry(
        self, item: Step, attempt: int, start: tuple[OperationUpdate, ...], why: str
    ) -> str | None:
        error = ErrorObject(f"attempt {attempt} {why}", "Flaky")
        await self._checkpoint(*start, update("STEP", "RETRY", item.id, error=error))
        return await self._step(item)

    def _recorded(self, item: Step, operation: Operation) -> str | None:
        assert isinstance(operation.details, StepDetails)
        result = text_of(operation.details.result)
        acknowledged = self._ledger.acknowledged.get((self._arn, item.id), result)
        assert result == acknowledged, "a result was acknowledged and lost"
        return result


async def complete_callback(simulation: Simulation, callback_id: str) -> bool:
    """Complete a callback from outside; return whether that is known to be done."""
    host = simulation.host
    try:
        await host.call(
            host.history.commands.succeed_callback(callback_id, f'"{callback_id[-8:]}"')
        )
    except (CallbackClosed, Ended):
        return True
    except (StoreError, HostGone):
        return False
    return True
