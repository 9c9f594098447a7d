"""`perdure dev`: a server, and a worker that restarts when a Python file changes.

The server lives in this process and keeps running; the worker is a process of its own, because only
a new process forgets the old code. Invocations of the old one are delivered to the new one.
"""

import asyncio
import importlib.util
import logging
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import typer

from perdure_cli.database_options import DatabaseFileOption, DatabaseOption, database_url
from perdure_cli.output import print_status
from perdure_cli.server import (
    HTTP_DEFAULT,
    GrpcOption,
    HttpOption,
    LogFormat,
    StatusEventsOption,
    default_node_name,
    exit_on_error,
)
from perdure_cli.signals import run_until_signalled
from perdure_cli.worker import ModulesArgument
from perdure_host.channel import SERVER_DEFAULT

if TYPE_CHECKING:
    from perdure_cli.node import NodeAddresses, NodeSettings

# A worker that does not finish within this is killed; its invocations are delivered again.
WORKER_STOP_S_MAX: Final = 5.0
# Less, so that it can say what it did not finish.
WORKER_GRACE_S: Final = 3.0


def dev(
    context: typer.Context,
    modules: ModulesArgument,
    db: DatabaseOption = None,
    db_file: DatabaseFileOption = None,
    grpc: GrpcOption = SERVER_DEFAULT,
    http: HttpOption = HTTP_DEFAULT,
    status_events: StatusEventsOption = None,
) -> None:
    """Run a server and a worker together; restart the worker when a Python file changes."""
    with exit_on_error():
        from perdure_cli.node import NodeSettings

        settings = NodeSettings(
            db_url=database_url(context, db, db_file),
            grpc_address=grpc,
            http_address=http,
            node_name=default_node_name(grpc),
            token_file=None,
            tls_cert=None,
            tls_key=None,
            tls_ca=None,
            status_events=status_events,
            insecure=False,
            migrate=True,
            log_format=LogFormat.TEXT.value,
        )
        status = run_until_signalled(lambda stop: _develop(settings, modules, stop))
        raise typer.Exit(status)


def watched_folders(modules: Sequence[str], working_folder: Path) -> list[Path]:
    """Return the folders to watch: the working folder, and those of modules elsewhere."""
    folders = [working_folder]
    for module in modules:
        folder = _folder(module, working_folder)
        if folder is not None and not any(folder.is_relative_to(each) for each in folders):
            folders.append(folder)
    return folders


async def _develop(settings: "NodeSettings", modules: Sequence[str], stop: asyncio.Event) -> int:
    """Run the server until `stop` is set or it fails; the worker stops first."""
    from perdure_cli.node import run_node

    ready: asyncio.Future[NodeAddresses] = asyncio.get_running_loop().create_future()
    stop_server = asyncio.Event()
    server = asyncio.create_task(run_node(settings, stop=stop_server, ready=ready.set_result))
    stopping = asyncio.create_task(stop.wait())
    first: set[asyncio.Future[Any]] = {server, ready, stopping}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if ready.done() and not stop.is_set():
        serving = asyncio.create_task(_serve_modules(modules, ready.result().grpc, stop))
        either: set[asyncio.Future[Any]] = {server, serving}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await serving
    stopping.cancel()
    stop_server.set()
    return await server


async def _serve_modules(modules: Sequence[str], server: str, stop: asyncio.Event) -> None:
    """Keep a worker running on the newest code until `stop` is set."""
    # The signature of awatch names trio, which need not be installed.
    from watchfiles import PythonFilter, awatch  # pyright: ignore[reportUnknownVariableType]

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # changes are printed below
    folders = watched_folders(modules, Path.cwd())
    worker = await _Worker.start(modules, server)
    try:
        async for changes in awatch(*folders, watch_filter=PythonFilter(), stop_event=stop):
            changed = sorted({Path(path).name for _, path in changes})
            print_status(f"changed: {', '.join(changed)}; restarting the worker")
            await worker.stop()
            worker = await _Worker.start(modules, server)
    finally:
        await worker.stop()


class _Worker:
    """One worker process, and a task that prints a message if it ends by itself."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._observer = asyncio.create_task(self._report_exit())

    @classmethod
    async def start(cls, modules: Sequence[str], server: str) -> Self:
        options = ("--server", server, "--grace", str(WORKER_GRACE_S))
        command = (sys.executable, "-m", "perdure_cli", "worker", *modules, *options)
        return cls(await asyncio.create_subprocess_exec(*command))

    async def stop(self) -> None:
        self._observer.cancel()
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), WORKER_STOP_S_MAX)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _report_exit(self) -> None:
        status = await self._process.wait()
        print_status(f"the worker exited with status {status}; it restarts when a file changes")


def _folder(module: str, working_folder: Path) -> Path | None:
    if module.endswith(".py"):
        return (working_folder / module).resolve().parent
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None  # the worker reports what is wrong with it
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve().parent
