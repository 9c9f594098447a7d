"""Live mode: on a real server, in real workers that are killed, many executions at a time.

All executions of one run share a worker. Each goes on until it has ended or is held in the session
proxy; then the worker is killed once, which is the crash that each held execution was to meet, and
another worker brings them to their ends.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from perdure import AsyncClient, DurableFunction
from perdure.client.models import ExecutionDescription
from perdure.testing import ExecutionHistory
from tests.conformance.run import Run
from tests.conformance.scenario import Act, Answer, End, Heartbeat, Refusal, Scenario
from tests.conformance.scenarios.invokes import TARGETS
from tests.conformance.session_proxy import Moment, SessionProxy
from tests.system.processes import ROOT, Machine

SERVED: Final = ROOT / "tests" / "conformance" / "served.py"
SLOTS: Final = 2_000
END_S_MAX: Final = 120.0
POLL_S: Final = 0.05


@dataclass(frozen=True)
class Attempt:
    """One execution of a scenario; its worker dies at `moment`, if there is one."""

    scenario: Scenario
    function: DurableFunction
    moment: Moment | None = None

    @property
    def execution_name(self) -> str:
        """The name of the execution."""
        return "whole" if self.moment is None else str(self.moment).replace(" ", "-")

    @property
    def key(self) -> str:
        """The function's name and the execution's."""
        return f"{self.function.settings.name}/{self.execution_name}"


class LiveServer:
    """A server, a session proxy in front of it, and one worker at a time."""

    def __init__(self, machine: Machine, client: AsyncClient, proxy: SessionProxy) -> None:
        self._machine = machine
        self._client = client
        self._proxy = proxy
        self._workers = 0
        self._start_worker()

    async def ready(self) -> None:
        """Wait until the worker serves."""
        function, worker = next(iter(TARGETS)), f"worker-{self._workers}"
        await asyncio.to_thread(self._machine.wait_for_worker, function, worker)

    async def run(self, attempts: Sequence[Attempt]) -> dict[Attempt, Run]:
        """Run executions side by side, with one crash of the worker that they share."""
        holds = self._proxy.holds
        for each in attempts:
            if each.moment is not None:
                holds.hold_at(each.key, each.moment)
        async with asyncio.timeout(END_S_MAX), asyncio.TaskGroup() as tasks:
            plays = [tasks.create_task(self._play(each)) for each in attempts]
            await holds.wait_settled(each.key for each in attempts)
            if any(self.hit(each) for each in attempts):
                self.kill_worker()
                self._start_worker()
        return {each: play.result() for each, play in zip(attempts, plays, strict=True)}

    def hit(self, attempt: Attempt) -> bool:
        """Return whether a worker of this execution died at its moment."""
        return attempt.key in self._proxy.holds.held

    def kill_worker(self) -> None:
        """Kill the worker."""
        self._machine.kill(f"worker-{self._workers}")

    def _start_worker(self) -> None:
        self._workers += 1
        options = ("--server", self._proxy.address, "--slots", str(SLOTS))
        self._machine.start(f"worker-{self._workers}", "worker", str(SERVED), *options)

    async def _play(self, attempt: Attempt) -> Run:
        start = self._client.start(attempt.function.settings.name, name=attempt.execution_name)
        arn = (await start).execution_arn
        for act in attempt.scenario.acts:
            await self._perform(act, arn)
        execution = await self._client.wait(arn, timeout_s=END_S_MAX)
        holds = self._proxy.holds
        holds.end(attempt.key)
        return Run(_end(execution), await self._history(execution), holds.checkpoints[attempt.key])

    async def _perform(self, act: Act, arn: str) -> None:
        callback_id = await self._open_callback(arn, act.callback)
        match act:
            case Answer():
                await self._client.succeed_callback(callback_id, result_text=act.result)
            case Refusal():
                await self._client.fail_callback(
                    callback_id, error_type=act.error_type, error_message=act.message
                )
            case Heartbeat():
                await self._client.heartbeat_callback(callback_id)

    async def _open_callback(self, arn: str, name: str) -> str:
        while True:  # ends with the callback, or the execution
            execution = await self._client.get(arn)
            assert not execution.ended, f"no callback {name!r} was created: {execution}"
            if execution.waiting_for == "callback":
                for callback in execution.open_callbacks:
                    if callback.name == name:
                        return callback.callback_id
            await asyncio.sleep(POLL_S)

    async def _history(self, execution: ExecutionDescription) -> ExecutionHistory:
        arn = execution.execution_arn
        document: dict[str, Any] = {
            "execution_arn": arn,
            "function_name": execution.function_name,
            "status": execution.status,
            "events": [event.to_json() async for event in self._client.history(arn)],
        }
        return msgspec.convert(document, ExecutionHistory, strict=False)


@asynccontextmanager
async def live_server(folder: Path) -> AsyncGenerator[LiveServer]:
    """Start a server, the session proxy, and the first worker."""
    with Machine(folder) as machine:
        machine.start_server()
        async with machine.async_client() as client, SessionProxy(machine.server_address) as proxy:
            live = LiveServer(machine, client, proxy)
            try:
                await live.ready()
                yield live
            finally:
                live.kill_worker()
                print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def _end(execution: ExecutionDescription) -> End:
    if execution.error is not None:
        text = f"{execution.error.error_type}: {execution.error.error_message}"
        return End(execution.status, text)
    return End(execution.status, execution.result_text)
