"""Public module: all that a worker imports from the SDK."""

from perdure.drivers.handler_loop import HandlerLoop, close_loop
from perdure.drivers.step_thread import abandoned_steps
from perdure.functions.plain import PlainFunction
from perdure.functions.run import run_invocation, run_invocation_async
from perdure.invocation.thread_pool import DaemonThreadPool
from perdure.operations.running_attempts import RunningAttempt, running_attempts
from perdure.primitives.logger import current_log_fields, log_extra
from perdure.primitives.timeline import format_duration, format_error, one_line
from perdure.protocol.function import RegisteredFunction
from perdure.protocol.invocation import (
    CheckpointAnswer,
    CheckpointRefused,
    CheckpointUnavailable,
    CheckpointWriter,
    Invocation,
    InvocationEnvironment,
    InvocationLost,
    InvocationObserver,
)
from perdure.protocol.outcome import Diverged, Errored, Failed, Lost, Outcome, Pending, Succeeded
from perdure.serdes.error_records import error_record
from perdure.settings.functions import FunctionSettings

__all__ = [
    "CheckpointAnswer",
    "CheckpointRefused",
    "CheckpointUnavailable",
    "CheckpointWriter",
    "DaemonThreadPool",
    "Diverged",
    "Errored",
    "Failed",
    "FunctionSettings",
    "HandlerLoop",
    "Invocation",
    "InvocationEnvironment",
    "InvocationLost",
    "InvocationObserver",
    "Lost",
    "Outcome",
    "Pending",
    "PlainFunction",
    "RegisteredFunction",
    "RunningAttempt",
    "Succeeded",
    "abandoned_steps",
    "close_loop",
    "current_log_fields",
    "error_record",
    "format_duration",
    "format_error",
    "log_extra",
    "one_line",
    "run_invocation",
    "run_invocation_async",
    "running_attempts",
]
