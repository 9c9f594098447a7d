"""Clients in a process that forks: writes a line of JSON for each child."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import psutil

from perdure import AsyncClient, Client
from perdure.client import ClientError

SERVER, FUNCTION = sys.argv[1:3]


def in_child(tell: Callable[[], Any]) -> None:
    """Write what `tell` returns in a forked child."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return
    try:
        sys.stdout.write(json.dumps(tell()) + "\n")
    except Exception as error:  # noqa: BLE001 - told to the test
        sys.stdout.write(json.dumps(f"{type(error).__name__}: {error}") + "\n")
    sys.exit(0)  # as programs end: what came over the fork is cleaned up


def helpers() -> int:
    """Return how many processes this one has started."""
    return len(psutil.Process().children())


def code_of(call: Callable[[], Any]) -> str:
    """Return the code of the error that a call raises."""
    try:
        call()
    except ClientError as error:
        return error.code
    return "none"


def names(client: Client) -> list[str]:
    """Return the names of the functions."""
    return [each.function_name for each in client.list_functions()]


def main() -> None:
    """Fork before a call, after one, and while another thread follows an execution."""
    client = Client(SERVER, patience_s=5)
    in_child(lambda: [names(client), helpers()])
    arn = client.start(FUNCTION, "terminate").execution_arn
    in_child(lambda: [names(client), helpers()])
    seen = threading.Event()
    held = client.start("held").execution_arn

    def follow() -> None:
        for _ in client.follow(held):
            seen.set()

    threading.Thread(target=follow, daemon=True).start()
    seen.wait()
    in_child(lambda: [event.event_type for event in client.follow(arn)][-1])
    in_child(lambda: client.get(arn[:-4] + "zzzz").status)
    in_child(lambda: code_of(lambda: client.start("nobody")))
    in_child(lambda: Client(SERVER, token_file="/nowhere"))
    in_child(lambda: names(Client(SERVER)))
    asyncio.run(with_async_client())
    client.stop(held)


async def with_async_client() -> None:
    """Fork while an async client is open."""
    async with AsyncClient(SERVER) as client:
        await client.list_functions()
        in_child(lambda: asyncio.run(list_async(client)))


async def list_async(client: AsyncClient) -> int:
    """Return how many functions there are."""
    return len(await client.list_functions())


main()
