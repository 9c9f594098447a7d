"""Steps that fork, in the ways in which Python programs do."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from perdure import (
    AsyncDurableContext,
    Client,
    ClientError,
    DurableContext,
    StepContext,
    durable_execution,
    durable_step,
)

FORK = multiprocessing.get_context("fork")

client = Client(os.environ["FORKING_SERVER"], patience_s=2)


@durable_step
def terminate_child(_step: StepContext) -> int | None:
    """Terminate a child that has come to run."""
    mine, its = FORK.Pipe()
    child = FORK.Process(target=_tell_and_sleep, args=(its,))
    child.start()
    mine.recv()
    child.terminate()
    child.join()
    return child.exitcode


@durable_step
def terminate_newborns(_step: StepContext) -> list[int | None]:
    """Terminate children before they come to anything."""
    ends: list[int | None] = []
    for _ in range(20):
        child = FORK.Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join()
        ends.append(child.exitcode)
    return ends


@durable_step
def run_program(_step: StepContext) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGTERM).name)"],
        preexec_fn=lambda: None,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@durable_step
def ask_in_child(_step: StepContext) -> Any:
    client.list_functions()
    return _told_by_child(_ask)


@durable_step
def return_in_child(_step: StepContext) -> int:
    return _fork_and_return()


@durable_step
def exit_in_child(_step: StepContext) -> int:
    child = os.fork()
    if child == 0:
        sys.exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@durable_step
async def return_in_child_of_async(_step: StepContext) -> int:
    return _fork_and_return()


STEPS = {
    "terminate": terminate_child,
    "newborns": terminate_newborns,
    "program": run_program,
    "ask": ask_in_child,
    "return": return_in_child,
    "exit": exit_in_child,
}


@durable_execution
def forking(event: str, context: DurableContext) -> Any:
    if event == "context":
        return _told_by_child(_use, context)
    return context.step(STEPS[event]())


@durable_execution
async def forking_async(event: str, context: AsyncDurableContext) -> Any:
    step = return_in_child_of_async if event == "return" else STEPS[event]
    return await context.step(step())


def _fork_and_return() -> int:
    child = os.fork()
    return 0 if child == 0 else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _told_by_child(target: Any, *arguments: Any) -> Any:
    mine, its = FORK.Pipe()
    child = FORK.Process(target=target, args=(its, *arguments))
    child.start()
    its.close()
    try:
        return mine.recv()
    finally:
        child.join()


def _tell_and_sleep(pipe: Connection) -> None:
    pipe.send("here")
    signal.pause()


def _ask(pipe: Connection) -> None:
    try:
        names = [each.function_name for each in client.list_functions()]
    except ClientError as error:
        pipe.send(str(error))
    else:
        pipe.send(names)


def _use(pipe: Connection, context: DurableContext) -> None:
    try:
        context.step(exit_in_child())
    except Exception as error:  # noqa: BLE001 - told to the parent
        pipe.send(str(error))
