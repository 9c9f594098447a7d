"""From a run of a handler's process to the end of its invocation: pure, with Lambda's texts.

For a durable function whatever breaks the invocation (an exception, an exit, a timeout) is no
failure of the execution: it is run again. For a plain one it is, as for Lambda's callers.
An answer that is no legal one fails the execution (Lambda API model, durable executions).
"""

import signal
from typing import Final, assert_never

import msgspec

from perdure.worker_api import Errored, Failed, Outcome, Pending, Succeeded
from perdure_core.model import ErrorObject
from perdure_core.payload import bytes_of
from perdure_core.validation import bounded_error
from perdure_host.lambda_json.bounds import SYNCHRONOUS_BYTES_MAX
from perdure_host.lambda_json.shapes import ErrorShape
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.processes.frames import HandlerError, InitFailed, Raised, Returned
from perdure_worker.hosting.processes.pool import RunResult
from perdure_worker.hosting.processes.process import Exited, InitTimedOut, TimedOut

EXIT_ERROR: Final = "Runtime.ExitError"
TIMED_OUT: Final = "Sandbox.Timedout"
INVALID: Final = "InvalidParameterValueException"


class _Output(msgspec.Struct, frozen=True, rename="pascal"):
    """Response of a durable function's handler. Other members are ignored."""

    status: str | None = None
    result: str | None = None
    error: ErrorShape | None = None


def outcome_of(definition: HostedDefinition, result: RunResult, request_id: str) -> Outcome:
    """Return how the invocation ends."""
    if isinstance(result, Returned):
        return _durable_end(result.result) if definition.durable else _plain_end(result.result)
    error = bounded_error(failure_of(result, request_id))
    return Errored(error) if definition.durable else Failed(error)


def refusal_of(event: str) -> Failed | None:
    """Return how an execution ends whose input is larger than plain handlers accept."""
    if bytes_of(event) > SYNCHRONOUS_BYTES_MAX:
        return _invalid(_too_large("input", event))
    return None


def failure_of(
    result: Raised | Exited | TimedOut | InitFailed | InitTimedOut, request_id: str
) -> ErrorObject:
    """Return what broke the invocation."""
    match result:
        case Raised(error) | InitFailed(error):
            return _error_object(error)
        case Exited(status):
            text = f"Error: Runtime exited {_manner(status)}"
            return ErrorObject(f"RequestId: {request_id} {text}", EXIT_ERROR)
        case TimedOut(after_s):
            text = f"Error: Task timed out after {after_s:.2f} seconds"
            return ErrorObject(f"RequestId: {request_id} {text}", TIMED_OUT)
        case InitTimedOut(after_s):
            text = f"Error: Initialization timed out after {after_s:.2f} seconds"
            return ErrorObject(f"RequestId: {request_id} {text}", TIMED_OUT)
        case _:
            assert_never(result)


def _manner(status: int) -> str:
    if status == 0:
        return "without providing a reason"
    if status > 0:
        return f"with error: exit status {status}"
    return f"with error: signal: {_SIGNALS.get(-status) or f'signal {-status}'}"


# As the Go runtime around Lambda's processes names them.
_SIGNALS: Final = {
    int(signal.SIGABRT): "aborted",
    int(signal.SIGBUS): "bus error",
    int(signal.SIGFPE): "floating point exception",
    int(signal.SIGHUP): "hangup",
    int(signal.SIGILL): "illegal instruction",
    int(signal.SIGINT): "interrupt",
    int(signal.SIGKILL): "killed",
    int(signal.SIGPIPE): "broken pipe",
    int(signal.SIGSEGV): "segmentation fault",
    int(signal.SIGTERM): "terminated",
}


def _error_object(error: HandlerError) -> ErrorObject:
    return ErrorObject(error.message, error.type, stack_trace=error.stack_trace)


def _plain_end(result: str) -> Outcome:
    if bytes_of(result) > SYNCHRONOUS_BYTES_MAX:
        return _invalid(_too_large("result", result))
    return Succeeded(result)


def _durable_end(text: str) -> Outcome:
    try:
        output = msgspec.json.decode(text, type=_Output)
    except msgspec.MsgspecError as error:
        return _invalid(
            "Invalid Status in invocation output. The handler of a durable function has to return"
            f" what @durable_execution of the AWS SDK returns: {error}"
        )
    match output:
        case _Output(status="SUCCEEDED", error=None):
            if bytes_of(output.result) > SYNCHRONOUS_BYTES_MAX:
                return _invalid(_too_large("result", output.result or ""))
            return Succeeded(output.result)
        case _Output(status="SUCCEEDED" | "PENDING" as status, error=ErrorShape()):
            return _invalid(f"Cannot return {status} status with an error.")
        case _Output(status="FAILED" | "PENDING" as status, result=str()):
            return _invalid(f"Cannot return {status} status with a result.")
        case _Output(status="FAILED"):
            return Failed(_bounded(output.error))
        case _Output(status="PENDING"):
            return Pending()
        case _:
            return _invalid(
                f"Invalid Status in invocation output: {output.status!r}."
                " SUCCEEDED, FAILED or PENDING is expected; is @durable_execution missing?"
            )


def _too_large(what: str, text: str) -> str:
    return f"The {what} is {bytes_of(text):,} bytes; at most {SYNCHRONOUS_BYTES_MAX:,} are allowed."


def _bounded(error: ErrorShape | None) -> ErrorObject:
    """Return a handler's error within the bound: refused, it would have the handler run again."""
    return ErrorObject() if error is None else bounded_error(error.to_core())


def _invalid(message: str) -> Failed:
    return Failed(ErrorObject(message, INVALID))
