"""A node with a clock that tests advance, and a worker that hosts handlers beside it.

No timer of an execution is due before a test moves the clock, and tests move it once the execution
is idle. So no history's order depends on a real clock, however busy the machine is. The node runs
in this process, in a thread and a loop of its own; the worker is a process, as in production.
"""

import asyncio
import threading
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from perdure_cli.node import Node, NodeAddresses, NodeSettings
from tests.gateway.serving import SteppedClock
from tests.hosting.hosted import HostedMachine, Invoked
from tests.hosting.sdks import sdk_environment
from tests.system.processes import START_S_MAX, STOP_S_MAX, Machine, wait_until

# Later than any clock of a handler, so that none takes what is not due for due.
BEGIN_MS: Final = 4_000_000_000_000
# No worker is taken for silent because a test has moved the clock.
SILENCE_MS_MAX: Final = 7 * 24 * 3_600_000
PROGRAM: Final = "program"

# What a test does while an execution rests: it lets a number of seconds pass, or makes a call that
# is given the ARN of the execution.
Act: TypeAlias = int | Callable[[str], None]


class PacedNode:
    """A node in a thread; time passes only by `move`."""

    def __init__(self, machine: Machine) -> None:
        self._settings = NodeSettings(
            db_url=machine.db_url,
            grpc_address=machine.server_address,
            http_address=machine.http_address,
            node_name="paced",
            heartbeat_timeout_ms=SILENCE_MS_MAX,
        )
        self._clock = SteppedClock(BEGIN_MS)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready: Future[NodeAddresses] = Future()
        self._thread = threading.Thread(target=self._run, name="paced node")

    def start(self) -> None:
        """Start the node and wait until it serves. Raises the error of a failed start."""
        self._thread.start()
        self._ready.result(START_S_MAX)

    def stop(self) -> None:
        """Stop the node and wait until it has ended."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S_MAX)
        assert not self._thread.is_alive()

    def move(self, seconds: int) -> None:
        """Advance the clock by this much at once."""
        moved: Future[None] = Future()

        def advance() -> None:
            self._clock.advance(seconds * 1_000)
            moved.set_result(None)

        self._loop.call_soon_threadsafe(advance)
        moved.result(STOP_S_MAX)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._live())
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _live(self) -> None:
        # Its server belongs to the running loop.
        node = Node(self._settings, self._clock)
        await node.run(self._stop, self._ready.set_result)


class Played(Invoked):
    """The result of a program that was run."""

    def __init__(self, hosted: HostedMachine, answer: dict[str, Any], event: object) -> None:
        super().__init__(hosted, answer)
        self.event = event


class PacedMachine(HostedMachine):
    """A worker beside a paced node."""

    def __init__(self, machine: Machine, node: PacedNode, functions: Path) -> None:
        self.move = node.move
        super().__init__(machine, functions)

    def play(self, program: str, *acts: Act, **event: Any) -> Played:
        """Run a program of the function `program`; its event holds the program's name."""
        return self.play_function(PROGRAM, {"program": program, **event}, *acts)

    def play_function(self, function: str, event: object, *acts: Act) -> Played:
        """Run a function to its end; each time the execution is idle the next act follows."""
        name = uuid.uuid4().hex
        arn = self.start(function, event, DurableExecutionName=name)
        for number, act in enumerate(acts, start=1):
            self.wait_rest(arn, number)
            if isinstance(act, int):
                self.move(act)
            else:
                act(arn)
        return Played(self, self.answer(function, event, DurableExecutionName=name), event)

    def wait_rest(self, arn: str, invocations: int = 1) -> None:
        """Return once this many invocations of an execution have ended."""

        def rests() -> bool:
            kinds = [event["EventType"] for event in self.events(arn)]
            return kinds.count("InvocationCompleted") >= invocations

        wait_until(rests, f"{invocations} invocations have ended")

    def event(self, arn: str, kind: str) -> dict[str, Any]:
        """Return the details of the one event of this type."""
        (event,) = [event for event in self.events(arn) if event["EventType"] == kind]
        details: dict[str, Any] = event[f"{kind}Details"]
        return details


@contextmanager
def paced_machine(
    folder: Path, functions: Path, sdk: Path | None = None
) -> Generator[PacedMachine]:
    """Run a paced node, and a worker that hosts a file's functions, as `hosting_machine` does."""
    with Machine(folder, environment=sdk_environment(sdk)) as machine:
        node = PacedNode(machine)
        node.start()
        try:
            paced = PacedMachine(machine, node, functions)
            try:
                yield paced
            finally:
                paced.close()
                machine.stop("worker")
                print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure
        finally:
            node.stop()
