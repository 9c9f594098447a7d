"""Makes the databases of this folder: what a server leaves that is killed together with its worker.

    EARLIER/.venv/bin/python -m tests.system.earlier.make

Run it from the root of a checkout, with the environment of the commit whose databases are wanted:
the server, the worker and the SDK are then those of that commit, and the functions are those of
this folder. It replaces `sqlite.db.gz`, `postgresql.sql.gz`, and `recorded.json`, which holds the
time of that, and what outsiders know then: ARNs, ids of callbacks, a checkpoint token.

Everything has been asked for by the command, by the client, or by messages of the contract, with
one exception: what executions have told each other is put back into the outbox, as if the server
had died between telling it and forgetting that.
"""

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import psycopg

from perdure.client import Client
from perdure_proto.v1 import worker_pb2, worker_pb2_grpc
from tests.ports import HeldPort
from tests.postgres import postgres_server

FOLDER: Final = Path(__file__).parent
FUNCTIONS: Final = ("functions.py", "values.py", "failures.py")
NODE: Final = "earlier"
WAIT_S_MAX: Final = 60.0
# Longer than any delay that is to be over when the server is killed.
STILL_S: Final = 11.0
OUTSIDE: Final = ("is_queued", "is_handed_back", "ends_ahead", "is_claimed")

PARCEL: Final = {
    "number": 9,
    "size": "small",
    "tags": ["x"],
    "due": "2026-01-02T03:04:05+00:00",
    "price": "9.90",
}
# By the name of the execution: the function unless it is called the same, payload and options.
STARTS: Final[dict[str, dict[str, Any]]] = {
    "returns": {"payload": {"one": 1}, "retention_days": 90},
    "is_deleted": {"function_name": "returns", "retention_days": 1},
    "raises": {"payload": "never"},
    "waits": {"payload": "since then", "trace_header": "Root=1-67891233-abcdef012345678912345678"},
    "is_stopped": {},
    "is_paused": {"function_name": "waits"},
    "is_resumed": {"function_name": "waits", "payload": "resumed"},
    "waits_long": {"execution_timeout_s": 1_800},
    "waits_too_long": {},
    "waits_for_a_tenant": {"payload": 1, "tenant_id": "tenant-1"},
    "creates_waits": {},
    "does_steps": {"payload": 1},
    "is_pausing": {"function_name": "does_steps", "payload": 2},
    "retries": {},
    "recovers": {},
    "is_interrupted": {},
    "is_interrupted_for_good": {},
    "is_overdue": {},
    "is_silent": {},
    "breaks": {},
    "polls": {},
    "asks": {},
    "asks_by_submitter": {},
    "hears": {},
    "nests": {},
    "maps": {"payload": [1, 2, 3]},
    "maps_flat": {"payload": [1, 2]},
    "does_in_parallel": {},
    "retries_a_block": {},
    "races": {},
    "takes_any": {},
    "takes_all": {},
    "invokes": {"payload": {"of": "invokes"}},
    "invokes_what_fails": {},
    "draws": {},
    "types": {"payload": PARCEL},
    "keeps_much": {"payload": "e" * 17_000},
    "diverges": {"payload": "once"},
    "doubles": {"payload": 21},
    "hangs_plainly": {"payload": 1},
    "gathers": {},
    "fails_in_steps": {},
    "fails_in_contexts": {},
    "fails_in_batches": {},
    **{name: {"payload": name} for name in OUTSIDE},
}
# Executions with open callbacks at the end, and the callbacks' names.
CALLBACKS: Final = {
    **{name: {"answer"} for name in ("asks", "does_in_parallel", "gathers")},
    "asks_by_submitter": {"answer create callback id"},
    "hears": {"granted", "denied", "late", "silent"},
}

_KEPT: Final = "bucket, outbox_id, body"
KEEP_SQLITE: Final = f"""
CREATE TABLE kept AS SELECT {_KEPT} FROM outbox;
CREATE TRIGGER keep AFTER DELETE ON outbox BEGIN
    INSERT INTO kept VALUES (OLD.bucket, OLD.outbox_id, OLD.body);
END;
"""
KEEP_POSTGRESQL: Final = f"""
CREATE TABLE kept AS SELECT {_KEPT} FROM outbox;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kept VALUES (OLD.bucket, OLD.outbox_id, OLD.body);
    RETURN OLD;
END $$;
CREATE TRIGGER keep AFTER DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION keep();
"""
PUT_BACK: Final = f"""
INSERT INTO outbox ({_KEPT}) SELECT {_KEPT} FROM kept WHERE true ON CONFLICT DO NOTHING;
"""
FORGET_SQLITE: Final = "DROP TRIGGER keep; DROP TABLE kept;"
FORGET_POSTGRESQL: Final = "DROP TRIGGER keep ON outbox; DROP FUNCTION keep; DROP TABLE kept;"


def main() -> None:
    """Make both databases."""
    recorded = {"sqlite": make_sqlite(), "postgresql": make_postgresql()}
    text = json.dumps(recorded, indent=1, sort_keys=True)
    (FOLDER / "recorded.json").write_text(f"{text}\n", encoding="utf-8")


def make_sqlite() -> dict[str, Any]:
    """Make the file of a SQLite database, without a log beside it."""
    with temporary_folder() as folder:
        file = folder / "perdure.db"

        def execute(*scripts: str) -> None:
            with closing(sqlite3.connect(file, timeout=WAIT_S_MAX)) as connection:
                for script in scripts:
                    connection.executescript(script)

        recorded = leave_behind(
            f"sqlite:///{file}", folder, keep_outbox=lambda: execute(KEEP_SQLITE)
        )
        compact = folder / "compact.db"
        execute(PUT_BACK, FORGET_SQLITE, f"VACUUM INTO '{compact}'")
        keep("sqlite.db.gz", compact.read_bytes())
    return recorded


def make_postgresql() -> dict[str, Any]:
    """Make the statements that make a PostgreSQL database again."""
    with temporary_folder() as folder, postgres_server() as postgres:
        url = postgres.create_database()

        def execute(*scripts: str) -> None:
            with psycopg.connect(url, autocommit=True) as connection:
                for script in scripts:
                    connection.execute(script.encode())

        recorded = leave_behind(url, folder, keep_outbox=lambda: execute(KEEP_POSTGRESQL))
        execute(PUT_BACK, FORGET_POSTGRESQL)
        keep("postgresql.sql.gz", postgres.dump(url.rpartition("/")[2]).encode())
    return recorded


def keep(name: str, content: bytes) -> None:
    """Write a file of this folder; the same content makes the same file."""
    (FOLDER / name).write_bytes(gzip.compress(content, mtime=0))


def leave_behind(db_url: str, folder: Path, *, keep_outbox: Callable[[], None]) -> dict[str, Any]:
    """Run server and worker until everything has begun; kill them; return what is in hand then."""
    events_folder = folder / "told"
    events_folder.mkdir()
    with ExitStack() as running:
        grpc_port, http_port = (running.enter_context(HeldPort()) for _ in range(2))
        addresses = ("--grpc", str(grpc_port), "--http", str(http_port))
        events = ("--status-events", str(events_folder / "events"))
        server = perdure("server", "--db", db_url, *addresses, "--node-name", NODE, *events)
        running.callback(kill, server)
        client = running.enter_context(Client(str(grpc_port), patience_s=WAIT_S_MAX))
        wait_until("the server serves", lambda: not client.list_functions())
        # From now on no event can be delivered.
        shutil.rmtree(events_folder)
        keep_outbox()
        channel = running.enter_context(grpc.insecure_channel(str(grpc_port)))
        outsider = worker_pb2_grpc.WorkerServiceStub(channel)
        register(outsider, "queuing", OUTSIDE)
        modules = copied_functions(folder)
        options = ("--server", str(grpc_port), "--slots", "500")
        worker = perdure("worker", *modules, *options, place=folder)
        running.callback(kill, worker)
        wait_until("the worker is there", lambda: len(client.list_functions()) > len(OUTSIDE))

        arns = {name: start(client, name, **options) for name, options in STARTS.items()}
        intervene(client, arns)
        wait_until_still(client, arns)
        callbacks = {
            f"{name}/{callback.name}": callback.callback_id
            for name, names in CALLBACKS.items()
            for callback in open_callbacks(client, arns[name], names)
        }
        register(outsider, "polling", OUTSIDE[1:])
        token = take_outside(outsider)
        client.delete(arns["is_deleted"])
        server.kill()
        worker.kill()
        made_ms = time.time_ns() // 1_000_000
    return {"made_ms": made_ms, "arns": arns, "callbacks": callbacks, "claimed": token}


def intervene(client: Client, arns: dict[str, str]) -> None:
    """Complete, fail, stop, pause and resume what is there for it."""
    names = {"kept", "refused", "lapsed", "granted", "denied", "late", "silent"}
    heard = {each.name: each for each in open_callbacks(client, arns["hears"], names)}
    for name in ("denied", "silent"):
        client.heartbeat_callback(heard[name].callback_id)
    client.succeed_callback(heard["kept"].callback_id, result_text="k" * 17_000)
    client.fail_callback(
        heard["refused"].callback_id,
        error_type="Refusal",
        error_message="not today",
        error_data="d" * 33_000,
        stack_trace=["somewhere else"],
    )
    wait_for_event(client, arns["recovers"], "StepFailed")
    client.pause(arns["recovers"])
    wait_for_event(client, arns["is_pausing"], "StepSucceeded")
    client.pause(arns["is_pausing"], reason="while it runs")
    for name in ("is_paused", "is_resumed"):
        wait_for_event(client, arns[name], "WaitStarted")
        client.pause(arns[name], reason="for a while", execution_timeout_paused=False)
    client.resume(arns["is_resumed"], reason="enough of it")
    why = {"error_type": "Tired", "error_message": "enough of it"}
    client.stop(arns["is_stopped"], **why)
    invoked = list[str]()

    def is_invoked() -> bool:
        invoked[:] = [
            each.execution_arn
            for each in client.list_executions(function_name="is_stopped", statuses=["RUNNING"])
        ]
        return bool(invoked)

    wait_until("what is to be stopped is invoked", is_invoked)
    client.stop(invoked[0], **why)


def take_outside(outsider: worker_pb2_grpc.WorkerServiceStub) -> str:
    """Take what another worker serves; end nothing; return the token of what it still runs."""
    taken = dict[str, worker_pb2.Invocation]()
    while len(taken) < len(OUTSIDE) - 1:
        poll = worker_pb2.PollRequest(worker_id="polling", max_invocations=3, wait_ms=1_000)
        taken |= {each.function_name: each for each in outsider.Poll(poll).invocations}
    tokens = {name: each.checkpoint_token for name, each in taken.items()}
    step = worker_pb2.OperationUpdate(id="step", type="STEP", name="begun", sub_type="Step")
    for name in ("is_claimed", "ends_ahead"):
        begun = worker_pb2.OperationUpdate(action="START")
        begun.MergeFrom(step)
        tokens[name] = checkpoint(outsider, tokens[name], begun)
    outcome = worker_pb2.OperationUpdate(
        id=taken["ends_ahead"].operations[0].id,
        type="EXECUTION",
        action="SUCCEED",
        payload=json.dumps("ahead"),
    )
    checkpoint(outsider, tokens["ends_ahead"], outcome)
    outsider.HandBack(
        worker_pb2.HandBackRequest(
            worker_id="polling", checkpoint_tokens=[tokens["is_handed_back"]]
        )
    )
    return tokens["is_claimed"]


def checkpoint(
    outsider: worker_pb2_grpc.WorkerServiceStub, token: str, update: worker_pb2.OperationUpdate
) -> str:
    """Record one update; return the next token."""
    request = worker_pb2.CheckpointRequest(
        checkpoint_token=token, updates=[update], client_token=update.action
    )
    next_token: str = outsider.Checkpoint(request).checkpoint_token
    return next_token


def register(
    outsider: worker_pb2_grpc.WorkerServiceStub, worker_id: str, functions: Iterable[str]
) -> None:
    """Announce functions of a worker that polls."""
    definitions = [
        worker_pb2.FunctionDefinition(function_name=name, durable=True) for name in functions
    ]
    request = worker_pb2.RegisterRequest(worker_id=worker_id, functions=definitions, slots=10)
    outsider.Register(request)


def start(client: Client, name: str, *, function_name: str | None = None, **options: Any) -> str:
    """Start an execution; return its ARN."""
    return client.start(function_name or name, name=name, **options).execution_arn


def open_callbacks(client: Client, arn: str, names: set[str]) -> Iterable[Any]:
    """Return the callbacks of an execution once those that are open have these names."""

    def are_open() -> bool:
        return {each.name for each in client.get(arn).open_callbacks} == names

    wait_until(f"{names} are open", are_open)
    return client.get(arn).open_callbacks


def wait_for_event(client: Client, arn: str, event_type: str) -> None:
    """Return once the execution has an event of the type."""

    def is_there() -> bool:
        return event_type in {each.event_type for each in client.history(arn)}

    wait_until(f"{event_type} of {arn}", is_there)


def wait_until_still(client: Client, arns: dict[str, str]) -> None:
    """Return once nothing has changed for a while but what breaks again and again."""
    seen, still_since_s = dict[str, Any](), time.monotonic()

    def is_still() -> bool:
        nonlocal seen, still_since_s
        now = {
            each.execution_arn: client.get(each.execution_arn, include_data=False).event_count
            for each in client.list_executions()
            if each.execution_arn != arns["breaks"]
        }
        if now != seen:
            seen, still_since_s = now, time.monotonic()
        return time.monotonic() - still_since_s > STILL_S

    wait_until("everything has begun", is_still)


def wait_until(claim: str, holds: Callable[[], bool]) -> None:
    """Return once it holds."""
    deadline_s = time.monotonic() + WAIT_S_MAX
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not so: {claim}")
        time.sleep(0.05)


def copied_functions(folder: Path) -> list[str]:
    """Copy the functions to where they are found, so that recorded stacks name no other place."""
    copy = folder / FOLDER.relative_to(Path.cwd())
    copy.mkdir(parents=True)
    return [str(shutil.copy(FOLDER / name, copy)) for name in FUNCTIONS]


def perdure(*arguments: str, place: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start a command of this environment's."""
    environment = {**os.environ, "PERDURE_TEST_MAKING": "1"}
    command = [sys.executable, "-m", "perdure_cli", *arguments]
    return subprocess.Popen(command, env=environment, cwd=place)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill what may have been killed."""
    process.kill()
    process.wait()


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder, and delete it."""
    with tempfile.TemporaryDirectory(prefix="perdure-earlier-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
