"""Public module: all that a worker imports from the SDK."""

from perdure.drivers.handler_loop import HandlerLoop, close_loop
from perdure.drivers.step_thread import overdue_bodies
from perdure.functions.plain import PlainFunction
from perdure.functions.run import run_invocation, run_invocation_async
from perdure.protocol.function import ServedFunction
from perdure.protocol.invocation import (
    CheckpointAnswer,
    CheckpointRefused,
    Checkpoints,
    CheckpointUnavailable,
    Delivered,
    Invocation,
    InvocationObserver,
    TurnPassed,
)
from perdure.protocol.outcome import Broken, Diverged, Dropped, Failed, Outcome, Pending, Succeeded
from perdure.serdes.error_records import error_record
from perdure.settings.functions import FunctionSettings

__all__ = [
    "Broken",
    "CheckpointAnswer",
    "CheckpointRefused",
    "CheckpointUnavailable",
    "Checkpoints",
    "Delivered",
    "Diverged",
    "Dropped",
    "Failed",
    "FunctionSettings",
    "HandlerLoop",
    "Invocation",
    "InvocationObserver",
    "Outcome",
    "Pending",
    "PlainFunction",
    "ServedFunction",
    "Succeeded",
    "TurnPassed",
    "close_loop",
    "error_record",
    "overdue_bodies",
    "run_invocation",
    "run_invocation_async",
]
