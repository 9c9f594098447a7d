"""Demonstration: orders are processed although their worker and their server are killed.

`make demo` runs it. It starts a server on a SQLite file and a worker as processes of their own,
sends orders, approves them, kills the worker with SIGKILL in the middle of one order and the
server in the middle of another, and ends with every order processed. It exits with 1 if anything
goes wrong, and leaves no process behind.
"""

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from perdure import AsyncClient, ClientError
from perdure.client import ExecutionDescription, FailedPreconditionError, HistoryEvent
from perdure.primitives.timeline import format_duration
from perdure_cli.timelines import Timeline, format_error

HERE = Path(__file__).parent
# An idle machine takes 25 s; a busy one may need this long, even to start.
TIME_S_MAX = 240.0
POLL_S = 0.05
LOG_LINES_MAX = 25
STYLES = ("cyan", "magenta", "yellow", "blue", "green", "white")
STEPS = ("validate_order", "send_for_approval", "process_order")


class DemoFailedError(Exception):
    """The demonstration went wrong; the message says how."""


@dataclass
class Order:
    """One order, and its events so far."""

    order_id: str
    function: str
    style: str
    arn: str = ""
    events: list[HistoryEvent] = field(default_factory=list[HistoryEvent])
    execution: ExecutionDescription | None = None


class Machines:
    """The server and the worker: processes that can be started, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.txt"
        self.ledger.touch()
        self.held = self.ledger.with_suffix(".held")
        self.server_address = f"127.0.0.1:{free_port()}"
        self._http_address = f"127.0.0.1:{free_port()}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self._running):
            self.kill(name)

    def start_server(self) -> None:
        """Start the server on the database of this demonstration."""
        database = f"sqlite:///{self.folder / 'perdure.db'}"
        addresses = ("--grpc", self.server_address, "--http", self._http_address)
        self._start("server", "server", "--db", database, *addresses)

    def start_worker(self) -> None:
        """Start a worker with both order programs."""
        modules = (str(HERE / "demo_orders.py"), str(HERE / "order_processing.py"))
        self._start("worker", "worker", *modules, "--server", self.server_address)

    def kill(self, name: str) -> None:
        """End a process as a power cut would."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def hold(self, attempt: str) -> None:
        """Make one attempt run until `release`, so that a process can be killed during it."""
        self.held.write_text(attempt)

    def release(self) -> None:
        """Let the held attempt end."""
        self.held.unlink()

    def check(self) -> None:
        """Raise DemoFailedError if a process that should run has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise DemoFailedError(f"the {name} ended by itself, with {process.returncode}")

    def logs(self) -> list[tuple[str, str]]:
        """Return the last log lines of each process."""
        files = sorted(self.folder.glob("*.log"))
        return [
            (file.stem, "\n".join(file.read_text(errors="replace").splitlines()[-LOG_LINES_MAX:]))
            for file in files
        ]

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - it is this interpreter
                [sys.executable, "-m", "perdure_cli", *arguments],
                cwd=self.folder,
                env={**os.environ, "PERDURE_DEMO_LEDGER": str(self.ledger)},
                stdout=log,
                stderr=log,
            )


class Demonstration:
    """The scenes of the demonstration, and the console that they are printed on."""

    def __init__(self, machines: Machines, client: AsyncClient, console: Console) -> None:
        self._machines = machines
        self._client = client
        self._console = console
        self._began_s = time.monotonic()
        self.orders: list[Order] = []

    async def play(self) -> None:
        """Run all scenes. Raises DemoFailedError."""
        self._chapter("a server on a SQLite file, and a worker")
        self._machines.start_server()
        self._machines.start_worker()
        await self._wait_for_worker()
        original = asyncio.create_task(self._process_original())

        self._chapter("two orders, with an API that fails on the first try")
        await asyncio.gather(self._process("order-1"), self._process("order-2"))

        self._chapter("an order whose worker is killed")
        self._machines.hold("order-3 attempt 2")
        interrupted = asyncio.create_task(self._process("order-3"))
        await self._wait_for_ledger("order-3 attempt 2 begins")
        self._kill("worker")
        self._machines.start_worker()
        await interrupted

        self._chapter("an order whose server is killed")
        self._machines.hold("order-4 attempt 1")
        interrupted = asyncio.create_task(self._process("order-4"))
        await self._wait_for_ledger("order-4 attempt 1 begins")
        self._kill("server")
        self._machines.start_server()
        await interrupted

        self._chapter("the original program, whose random API may fail three times in a row")
        await original
        await self._check_everything()

    async def _process_original(self) -> None:
        """Send the order of the original program again each time its random API makes it fail."""
        for attempt in itertools.count(2):  # bounded by TIME_S_MAX
            order = await self._process(f"original-{attempt - 1}", "lambda_handler")
            check_history(order)
            if order.execution is not None and order.execution.status == "SUCCEEDED":
                return
            self._print(
                f"the random API failed {order.order_id} three times, so it gave up, as it does in "
                f"one of five runs; the order is sent again as original-{attempt}",
                "yellow",
            )
            self.orders.remove(order)

    async def _process(self, order_id: str, function: str = "demo_order") -> Order:
        order = Order(order_id, function, STYLES[len(self.orders) % len(STYLES)])
        self.orders.append(order)
        payload = {"order_id": order_id}
        order.arn = (await self._client.start(function, payload, name=order_id)).execution_arn
        timeline = Timeline()
        async for event in self._client.follow(order.arn):
            order.events.append(event)
            line = Text(f"{order_id:<11}", style=order.style)
            line.append_text(timeline.draw(event))
            self._console.print(line, soft_wrap=True)
            if event.event_type == "StepSucceeded" and event.name == "send_for_approval":
                await self._approve(order)
        order.execution = await self._client.wait(order.arn)
        return order

    async def _approve(self, order: Order) -> None:
        (callback_id,) = [each.callback_id for each in order.events if each.callback_id]
        try:
            await self._client.succeed_callback(callback_id, {"approved": True})
        except FailedPreconditionError:
            return  # the server was killed before it answered, and the client has retried
        self._print(f"{order.order_id} is approved", order.style)

    async def _wait_for_worker(self) -> None:
        while True:  # bounded by TIME_S_MAX
            listing = asyncio.create_task(self._client.list_functions())
            while not listing.done():
                self._machines.check()
                await asyncio.wait((listing,), timeout=POLL_S)
            if {"demo_order", "lambda_handler"} <= {
                each.function_name for each in listing.result() if each.workers_connected
            }:
                return
            await asyncio.sleep(POLL_S)

    async def _wait_for_ledger(self, line: str) -> None:
        """Return once a step has written this line to the ledger."""
        while line not in self._machines.ledger.read_text().splitlines():  # bounded by TIME_S_MAX
            self._machines.check()
            await asyncio.sleep(POLL_S)

    def _kill(self, name: str) -> None:
        self._machines.kill(name)
        self._machines.release()
        self._print(f"the {name} is killed (SIGKILL) in the middle of process_order", "bold red")
        self._print(f"another {name} is started", "bold green")

    async def _check_everything(self) -> None:
        again = await self._client.start("demo_order", {"order_id": "order-1"}, name="order-1")
        if again.started or again.execution_arn != self._order("order-1").arn:
            raise DemoFailedError("order-1 ran again when it was started again")
        for order in self.orders:
            check_history(order)
        for order in self.orders:
            if order.function == "demo_order":
                check_outcome(order)
        tries = self._machines.ledger.read_text().splitlines().count("order-3 attempt 2 begins")
        if tries <= 1:
            raise DemoFailedError("order-3 was not interrupted")

    def conclude(self) -> None:
        """Print the history of one order, and a table of all."""
        self._chapter("how order-3 went, whose worker was killed")
        timeline = Timeline()
        for event in self._order("order-3").events:
            self._console.print(timeline.draw(event), soft_wrap=True)
        self._chapter("all orders")
        self._console.print(summary(self.orders))
        took_s = time.monotonic() - self._began_s
        self._print(f"every order is processed, after {took_s:.0f} s", "bold green")

    def _order(self, order_id: str) -> Order:
        return next(order for order in self.orders if order.order_id == order_id)

    def _chapter(self, title: str) -> None:
        self._console.print()
        self._console.print(Rule(Text(title, style="bold"), align="left"))

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(f"» {text}", style=style), soft_wrap=True)


def check_history(order: Order) -> None:
    """Raise DemoFailedError unless the history is complete and has one end."""
    ids = [event.event_id for event in order.events]
    if ids != list(range(1, len(ids) + 1)):
        raise DemoFailedError(f"{order.order_id}: the history has gaps or duplicates: {ids}")
    ends = [each.event_type for each in order.events if each.event_type.startswith("Execution")]
    if len(ends) != 2 or ends[0] != "ExecutionStarted":  # noqa: PLR2004 - a start and an end
        raise DemoFailedError(f"{order.order_id}: expected one start and one end, got {ends}")


def check_outcome(order: Order) -> None:
    """Raise DemoFailedError unless the order was processed and each step succeeded exactly once."""
    execution = order.execution
    expected: dict[str, Any] = {"order_id": order.order_id, "status": "processed"}
    if execution is None or execution.status != "SUCCEEDED" or execution.result != expected:
        raise DemoFailedError(f"{order.order_id} was not processed: {execution}")
    done = tuple(each.name for each in order.events if each.event_type == "StepSucceeded")
    if done != STEPS:
        raise DemoFailedError(f"{order.order_id}: expected the steps {STEPS}, got {done}")


def summary(orders: list[Order]) -> Table:
    """Return a table of the orders and their outcomes."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("ORDER", "FUNCTION", "STATUS", "TOOK", "EVENTS", "INVOCATIONS"):
        table.add_column(column, no_wrap=True)
    table.add_column("OUTCOME", overflow="fold")
    for order in orders:
        execution = order.execution
        assert execution is not None
        ended_at = execution.ended_at or execution.started_at
        succeeded = execution.status == "SUCCEEDED"
        kinds = [event.event_type for event in order.events]
        outcome = execution.result_text if succeeded else format_error_of(execution)
        table.add_row(
            Text(order.order_id, style=order.style),
            order.function,
            Text(execution.status, style="green" if succeeded else "red"),
            format_duration(ended_at - execution.started_at),
            str(len(kinds)),
            str(kinds.count("InvocationCompleted")),
            outcome,
        )
    return table


def format_error_of(execution: ExecutionDescription) -> str:
    """Return why an execution failed."""
    return "" if execution.error is None else format_error(execution.error)


def free_port() -> int:
    """Return a port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def run(machines: Machines, console: Console) -> None:
    """Run the demonstration within its time limit."""
    async with AsyncClient(machines.server_address, patience_s=TIME_S_MAX) as client:
        demonstration = Demonstration(machines, client, console)
        try:
            async with asyncio.timeout(TIME_S_MAX):
                await demonstration.play()
        except TimeoutError:
            orders = [
                f"{each.order_id} ({len(each.events)} events)" for each in demonstration.orders
            ]
            message = f"not done after {TIME_S_MAX:.0f} s; orders: {', '.join(orders) or 'none'}"
            raise DemoFailedError(message) from None
        demonstration.conclude()


def main() -> int:
    """Run the demonstration and return the exit status."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    signal.signal(signal.SIGTERM, exit_upon_signal)
    with (
        tempfile.TemporaryDirectory(prefix="perdure-demo-") as folder,
        Machines(Path(folder)) as machines,
    ):
        try:
            asyncio.run(run(machines, console))
        except (ClientError, DemoFailedError) as error:
            console.print(Text(f"\nthe demonstration failed: {error}", style="bold red"))
            for name, log in machines.logs():
                console.print(Rule(f"the end of the {name}'s log", align="left"))
                console.print(Text(log), soft_wrap=True)
            return 1
    return 0


def exit_upon_signal(number: int, _frame: FrameType | None) -> None:
    """Exit in a way that cleans up."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
