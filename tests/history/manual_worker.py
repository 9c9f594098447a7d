"""A worker that a test drives call by call."""

from typing import Any

from perdure_core.commands import CompletionStatus
from perdure_core.identity import arn_of, child_identity, parse_arn
from perdure_core.model import ErrorObject, OperationAction, OperationType, OperationUpdate
from perdure_host.services import CheckpointAnswer, InvocationOffer, Task, key_of
from tests.history.manual_clock import settle
from tests.history.simulation import Simulation


def update(kind: str, action: str, operation_id: str, **fields: Any) -> OperationUpdate:
    if (kind, action) == ("WAIT", "START"):
        fields.setdefault("wait_ms", 1_000)
    if action == "RETRY":
        fields.setdefault("next_attempt_delay_ms", 1_000)
    if kind == "CHAINED_INVOKE":
        fields.setdefault("function", "child")
    return OperationUpdate(
        id=operation_id, type=OperationType(kind), action=OperationAction(action), **fields
    )


def child_of(parent: str) -> str:
    """Return the ARN of the execution that the operation "i" of this one has invoked."""
    return arn_of(child_identity(parse_arn(parent), "i", "child"))


class Invocation:
    """One invocation of the worker."""

    def __init__(self, simulation: Simulation, offer: InvocationOffer) -> None:
        self.simulation = simulation
        self.offer = offer
        self.id = offer.invocation_id
        self.token = offer.token
        self.calls = 0

    async def checkpoint(self, *updates: OperationUpdate) -> CheckpointAnswer:
        self.calls += 1
        answer = await self.simulation.history.invocations.checkpoint(
            self.token, f"{self.id[:8]}-{self.calls}", updates
        )
        self.token = answer.token
        return answer

    async def complete(
        self,
        status: str = "PENDING",
        result: str | None = None,
        error: ErrorObject | None = None,
    ) -> None:
        await self.simulation.history.invocations.complete(
            self.token, CompletionStatus(status), result=result, error=error
        )

    async def step(self, operation_id: str, result: str = '"done"') -> CheckpointAnswer:
        return await self.checkpoint(
            update("STEP", "START", operation_id),
            update("STEP", "SUCCEED", operation_id, payload=result),
        )


class ManualWorker:
    """A worker of one function; delivered tasks stay in `tasks` until the test takes them."""

    def __init__(
        self,
        simulation: Simulation,
        worker_id: str = "worker-1",
        functions: tuple[str, ...] = ("order",),
        slots: int = 1_000,
    ) -> None:
        self.simulation = simulation
        self.worker_id = worker_id
        self.functions = functions
        self.tasks: list[Task] = []
        self.attach(slots)
        simulation.workers.append(self)

    def attach(self, slots: int = 1_000) -> None:
        matching = self.simulation.host.matching
        functions = [("default", name) for name in self.functions]
        matching.attach(self.worker_id, functions, self.tasks.append)
        matching.credit(self.worker_id, slots)

    async def tick(self) -> None:
        """Do nothing: only the test makes calls."""

    async def finish(self) -> None:
        self.simulation.host.matching.detach(self.worker_id)
        while self.tasks:
            offer = await self.simulation.history.invocations.begin(
                self.tasks.pop(0).key, self.worker_id
            )
            if offer is not None:
                await self.simulation.history.invocations.hand_back([offer.token])

    async def take(self) -> Invocation:
        """Begin the oldest invocation that was delivered."""
        await settle()
        assert self.tasks, "nothing was delivered"
        offer = await self.simulation.history.invocations.begin(
            self.tasks.pop(0).key, self.worker_id
        )
        assert offer is not None
        return Invocation(self.simulation, offer)

    async def begin_for(self, arn: str) -> Invocation | None:
        """Begin an invocation of the execution, if it wants one."""
        offer = await self.simulation.history.invocations.begin(key_of(arn), self.worker_id)
        return None if offer is None else Invocation(self.simulation, offer)

    async def is_idle(self) -> bool:
        """Return whether nothing was delivered."""
        await settle()
        return not self.tasks

    async def heartbeat(self, *invocations: Invocation) -> tuple[str, ...]:
        ids = [invocation.id for invocation in invocations]
        return await self.simulation.history.invocations.heartbeat(self.worker_id, ids)

    async def claim(self, *invocations: Invocation) -> bool:
        """Claim the invocations; return whether all are the worker's."""
        tokens = [invocation.token for invocation in invocations]
        return not await self.simulation.history.invocations.claim(tokens, self.worker_id)
