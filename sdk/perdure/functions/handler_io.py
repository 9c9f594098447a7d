"""Input, output and errors of a handler: decoded, encoded, and turned into an outcome."""

from asyncio import CancelledError
from typing import Any, Protocol

from perdure.exceptions import ExecutionError, InvocationError, SuspendExecution
from perdure.invocation.state import termination_for
from perdure.primitives.user_code import raised_error
from perdure.protocol.invocation import Invocation
from perdure.protocol.outcome import Errored, Failed, Outcome, Pending
from perdure.serdes.error_records import error_record
from perdure.settings.functions import FunctionSettings
from perdure.typed.serdes import decode_event, encode_result
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.model import ExecutionDetails
from perdure_core.payload import text_of


class Handler(Protocol):
    """A function whose handler can be called; its annotations are those of the handler."""

    settings: FunctionSettings

    def __call__(self, event: Any, context: Any, /) -> Any:
        """Call the handler."""
        ...


def decode_input(function: Handler, invocation: Invocation) -> Any:
    """Return the input of the handler, as its annotations demand."""
    details = invocation.operations[0].details if invocation.operations else None
    if not isinstance(details, ExecutionDetails):
        raise InvocationError("The first recorded operation is not the execution itself.")
    return decode_event(function, text_of(details.input))


def encode_output(function: Handler, value: Any) -> str:
    """Return the value of the handler as the text that is recorded."""
    text = encode_result(function, value)
    if len(text) > PAYLOAD_BYTES_MAX:  # json.dumps writes ASCII: characters are bytes
        raise ExecutionError(
            f"The result of {function.settings.name!r} must be at most {PAYLOAD_BYTES_MAX:,} bytes,"
            f" got {len(text):,}."
        )
    return text


def outcome_for(error: BaseException) -> Outcome:
    """Return the outcome of an invocation whose handler raised `error`."""
    match error:
        case SuspendExecution():
            return Pending()
        case Exception() | CancelledError():
            return termination_for(error) or Failed(error_record(raised_error(error)))
        case _:  # a plugin asks to stop: what the handler raises itself arrives in its carrier
            return termination_for(error) or Errored(error_record(error))
