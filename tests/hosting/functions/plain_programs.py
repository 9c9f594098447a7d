"""Handlers that need no SDK: failures of a process, and its output."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

CALLS: list[Any] = []


def echo(event: Any, context: Any) -> Any:
    CALLS.append(event)
    return {"event": event, "pid": os.getpid(), "calls": len(CALLS)}


def describe(event: Any, context: Any) -> Any:
    return {
        "environment": dict(os.environ),
        "context": {
            name: getattr(context, name)
            for name in (
                "aws_request_id",
                "invoked_function_arn",
                "function_name",
                "function_version",
                "memory_limit_in_mb",
                "log_group_name",
                "log_stream_name",
                "client_context",
                "tenant_id",
            )
        },
        "identity": context.identity.cognito_identity_id,
        "left": context.get_remaining_time_in_millis(),
        "folder": str(Path.cwd()),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "path": sys.path[0],
    }


def describe_client(event: Any, context: Any) -> Any:
    client = context.client_context
    return None if client is None else [vars(client.client), client.custom, client.env]


def sleep(event: Any, context: Any) -> None:
    print(os.getpid())
    time.sleep(600)


def leave(event: Any, context: Any) -> None:
    sys.exit(event)


def leave_at_once(event: Any, context: Any) -> None:
    os._exit(event)


def leave_a_child(event: Any, context: Any) -> int:
    child = subprocess.Popen(["sleep", "600"])
    if event == "and exit":
        print(child.pid, flush=True)
        os._exit(1)
    return child.pid


def unserialisable(event: Any, context: Any) -> Any:
    return {"a set"}


def decimals(event: Any, context: Any) -> Any:
    return [Decimal("1.5"), Decimal(2)]


def as_bytes(event: Any, context: Any) -> bytes:
    return json.dumps({"raw": event}).encode()


def too_large(event: Any, context: Any) -> str:
    return "x" * 6_291_556


def raises(event: Any, context: Any) -> None:
    raise LookupError("no such order")


def logs(event: Any, context: Any) -> None:
    log = logging.getLogger("shop")
    print("first")
    log.info("second %s", "part", extra={"order": 7, "odd": {1}})
    print("third", file=sys.stderr)
    subprocess.run(["echo", "fourth"], check=True)
    try:
        int("bad")
    except ValueError:
        log.exception("fifth")
    log.warning({"sixth": 6})
    log.debug("not shown")
    print("half a ", end="")
    print("line")
    print("without an end", end="")


def returned(event: Any, context: Any) -> Any:
    return event
