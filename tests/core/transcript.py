"""The language of transcripts: commands to an execution, and its reactions as text.

A transcript is a text of blocks: a command (checkpoints have one update on each further line), a
line `----`, and the reaction. Values are words or quoted; `name=value` gives a field.
"""

import json
import shlex
from collections.abc import Callable
from typing import Any

import msgspec

from perdure_core.commands import (
    ChildEnded,
    Command,
    CompleteCallback,
    Delete,
    HeartbeatCallback,
    Pause,
    Resume,
    Stop,
)
from perdure_core.decision import ReportEnd, StartChild
from perdure_core.events import Event, ParentLink, Subject, is_public
from perdure_core.model import EXECUTION_OPEN, ErrorObject, Operation, OperationUpdate
from perdure_core.refusals import Refused
from perdure_core.state import DEADLINE, INVOCATION_RETRY, State, waiting_for
from perdure_core.views import visible_operations
from tests.core.scene import ORDER, Scene, update

PARENT = ParentLink(7, "f" * 32, "charge")
INTEGERS = {
    "timeout_s",
    "retention_days",
    "heartbeat_timeout_s",
    "next_attempt_delay_ms",
    "wait_ms",
    "duration_ms",
}
BOOLEANS = {"replay_children", "running", "timeout_paused", "parent"}
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Shown elsewhere, or the same in every transcript.
OMITTED = {"subject", "namespace", "execution_id", "client_token", "parent", "retention_days"}


def rewrite(text: str) -> str:
    """Return the transcript with its commands and the current reactions."""
    play = Play()
    blocks: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        command = block.split("\n----")[0].strip("\n")
        lines = [line for line in command.split("\n") if not line.startswith("#")]
        blocks.append("\n".join([command, "----", *play.react(lines)]) if any(lines) else command)
    return "\n\n".join(blocks) + "\n"


class Play:
    """One transcript in progress."""

    def __init__(self) -> None:
        self.scene = Scene(now_ms=0)
        self.event_count = 0
        self.last: Callable[[], None] = lambda: None

    def react(self, lines: list[str]) -> list[str]:
        """Run the command of the lines and return the reactions."""
        verb, *args = shlex.split(lines[0])
        updates = [an_update(line) for line in lines[1:] if line.strip()]
        seen = len(self.scene.records), len(self.scene.deliveries)
        try:
            answers = self.do(verb, args, updates)
        except Refused as refused:
            return [f"{type(refused).__name__}: {refused}"]
        reactions = [
            self.event(event, record.at_ms)
            for record in self.scene.records[0 if verb == "start" else seen[0] :]
            for event in record.events
        ]
        reactions += [delivery(item) for item in self.scene.deliveries[seen[1] :]]
        return [*(reactions or ["(nothing)"]), *answers, standing(self.scene.state)]

    def do(self, verb: str, args: list[str], updates: list[OperationUpdate]) -> list[str]:
        scene = self.scene
        match verb:
            case "start":
                self.start(fields(args))
            case "take":
                token = scene.take()
                listed = ", ".join(brief(op) for op in visible_operations(scene.state))
                return [f"invocation {token.invocation_id} is shown: {listed or 'nothing yet'}"]
            case "checkpoint" | "repeat":
                return self.checkpoint(verb, updates)
            case "complete":
                self.complete(args)
            case "hand-back":
                scene.hand_back()
            case "after":
                self.after(args[0])
            case _:
                scene.do(command(verb, args, worker_runs=scene.token is not None))
        return []

    def start(self, values: dict[str, Any]) -> None:
        values["parent"] = PARENT if values.pop("parent", False) else None
        self.scene = Scene(msgspec.structs.replace(ORDER, **values), now_ms=0)

    def checkpoint(self, verb: str, updates: list[OperationUpdate]) -> list[str]:
        if verb == "checkpoint":
            self.call = self.scene.call(*updates)
        answer = self.scene.send(self.call)
        listed = ", ".join(brief(operation) for operation in answer) or "nothing"
        token = "no token" if self.scene.state.revoked else f"turn {self.scene.held().number}"
        return [f"answer: {listed}; {token}"]

    def complete(self, args: list[str]) -> None:
        values = fields(args[1:])
        status: Any = args[0]
        token = self.scene.held()
        self.scene.complete(status, **values)
        # Kept, so that a transcript can show the answer to a late worker.
        self.scene.token = token if self.scene.state.status not in EXECUTION_OPEN else None

    def after(self, span: str) -> None:
        for unit, ms in UNITS.items():
            if span.removesuffix(unit).isdigit():
                self.scene.wait(int(span.removesuffix(unit)) * ms)
                return
        raise AssertionError(f"no span of time: {span}")

    def event(self, event: Event, at_ms: int) -> str:
        number = "·"
        if is_public(event):
            self.event_count += 1
            number = str(self.event_count)
        subject: Subject | None = getattr(event, "subject", None)
        parts = [f"{number:>3}", clock(at_ms), type(event).__name__]
        parts += [] if subject is None else [subject.id]
        return " ".join([*parts, *described_fields(event)])


def command(verb: str, args: list[str], *, worker_runs: bool) -> Command:
    """Return the command of a caller, or of another execution."""
    match verb, args:
        case "callback", [operation_id, "heartbeat"]:
            return HeartbeatCallback(operation_id)
        case "callback", [operation_id, how, *rest]:
            return CompleteCallback(
                operation_id=operation_id, succeeded=how == "succeed", **fields(rest)
            )
        case "child", [operation_id, status, *rest]:
            end_status: Any = status
            return ChildEnded(operation_id=operation_id, status=end_status, **fields(rest))
        case "stop", _:
            return Stop(**fields(args))
        case "pause", _:
            return Pause(running=worker_runs, **fields(args))
        case "resume", _:
            return Resume(**fields(args))
        case "delete", []:
            return Delete()
        case _:
            raise AssertionError(f"no such command: {verb} {args}")


def an_update(line: str) -> OperationUpdate:
    """Read `TYPE ACTION id field=value …`."""
    kind, action, operation_id, *rest = shlex.split(line)
    return update(kind, action, operation_id, **fields(rest))


def fields(args: list[str]) -> dict[str, Any]:
    """Read `name=value` words. An error reads `Type: message`."""
    values: dict[str, Any] = dict(arg.split("=", 1) for arg in args)
    for name, value in values.items():
        if name in INTEGERS:
            values[name] = int(value)
        elif name in BOOLEANS:
            values[name] = value == "yes"
        elif name == "error":
            kind, _, message = value.partition(": ")
            values[name] = ErrorObject(message, kind)
    return values


def described_fields(event: Event) -> list[str]:
    """Return the fields of an event that are not empty."""
    names = [name for name in event.__struct_fields__ if name not in OMITTED]
    values = [(name, getattr(event, name)) for name in names]
    return [
        f"{name}={formatted(value)}" for name, value in values if value not in ("", None, False)
    ]


def formatted(value: object) -> str:
    if isinstance(value, ErrorObject):
        return f"[{value.type}: {value.message}]"
    text = str(value)
    if len(text) > 80:
        return f"({len(text):,} characters)"
    return json.dumps(text) if " " in text else text


def delivery(item: StartChild | ReportEnd) -> str:
    parent = item.parent.operation_id
    if isinstance(item, StartChild):
        return f"    send: start {item.function} for {parent}, input={formatted(item.input)}"
    error = "" if item.error is None else f", error={formatted(item.error)}"
    result = "" if item.result is None else f", result={formatted(item.result)}"
    return f"    send: {parent} of the parent ended as {item.status}{result}{error}"


def brief(operation: Operation) -> str:
    return f"{operation.id} {operation.status}"


def standing(state: State) -> str:
    """Return the status of the execution as a line."""
    labels = {DEADLINE: "deadline", INVOCATION_RETRY: "retry"}
    due = sorted((due_ms, labels.get(id_, id_)) for id_, due_ms in state.alarms.snapshot().items())
    alarms = ", ".join(f"{id_} {clock(due_ms)}" for due_ms, id_ in due)
    if state.status not in EXECUTION_OPEN:
        return f"= {state.status}"
    return f"= {state.status}, {state.dispatch}, waits for {waiting_for(state)}; alarms: {alarms}"


def clock(ms: int) -> str:
    """Write milliseconds since the start as [days+]hours:minutes:seconds[.ms]."""
    seconds, ms = divmod(ms, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (
        (f"{days}d+" if days else "")
        + f"{hours:02}:{minutes:02}:{seconds:02}"
        + (f".{ms:03}" if ms else "")
    )
