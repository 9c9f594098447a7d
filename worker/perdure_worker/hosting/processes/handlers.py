"""Import the handler that a dotted name stands for, and call it as Lambda's runtime does.

Error types and messages are those of Lambda's runtime interface client for Python.
"""

import importlib
import json
import sys
import traceback
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from perdure_core.text import cut_chars
from perdure_worker.hosting.processes.frames import HandlerError

# Lambda quotas page: the payload of a response, and what surrounds it.
RESULT_BYTES_MAX: Final = 6_291_556
MESSAGE_CHARS_MAX: Final = 12_288
FRAMES_MAX: Final = 50

Handler = Callable[[Any, Any], Any]


class HandlerFailed(Exception):
    """The handler cannot be called, or its result cannot be written as JSON."""

    def __init__(self, error_type: str, message: str, stack_trace: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.error = HandlerError(cut_chars(message, MESSAGE_CHARS_MAX), error_type, stack_trace)


def load_handler(dotted: str) -> Handler:
    """Import the handler. Raises HandlerFailed, and what the module itself raises."""
    module_name, _, attribute = dotted.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise HandlerFailed(
            "Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}"
        ) from error
    except SyntaxError as error:
        raise HandlerFailed(
            "Runtime.UserCodeSyntaxError",
            f"Syntax error in module '{module_name}': {error}",
            (f'  File "{error.filename}" Line {error.lineno}\n    {error.text}',),
        ) from error
    try:
        handler: Handler = getattr(module, attribute)
    except AttributeError as error:
        raise HandlerFailed(
            "Runtime.HandlerNotFound",
            f"Handler '{attribute}' missing on module '{module_name}'",
        ) from error
    return handler


def call_handler(handler: Handler, event: str, context: object) -> str:
    """Return what the handler returns, as JSON. Raises HandlerFailed, and whatever it raises."""
    try:
        value = json.loads(event)
    except (ValueError, RecursionError) as error:
        raise HandlerFailed(
            "Runtime.UnmarshalError", f"Unable to unmarshal input: {error}"
        ) from None
    return marshalled(handler(value, context))


def marshalled(value: object) -> str:
    """Return a value as JSON, as Lambda's runtime would. Raises HandlerFailed."""
    try:
        text = _json_of(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise HandlerFailed(
            "Runtime.MarshalError", f"Unable to marshal response: {error}"
        ) from None
    # ASCII only, so that characters are bytes.
    if len(text) > RESULT_BYTES_MAX:
        raise HandlerFailed(
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size"
            f" ({RESULT_BYTES_MAX} bytes).",
        )
    return text


def error_of(error: BaseException) -> HandlerError:
    """Return what an exception says, with the frames that are the user's."""
    if isinstance(error, HandlerFailed):
        return error.error
    frames = traceback.extract_tb(error.__traceback__)
    while frames and frames[0].filename in (__file__, sys.modules["__main__"].__file__):
        del frames[0]
    lines = traceback.format_list(frames[-FRAMES_MAX:])
    return HandlerError(
        cut_chars(_message(error), MESSAGE_CHARS_MAX),
        type(error).__name__,
        tuple([cut_chars(line, MESSAGE_CHARS_MAX) for line in lines]),
    )


def _json_of(value: object) -> str:
    if isinstance(value, bytes):
        # Lambda passes bytes on as they are; here every result is JSON.
        value = json.loads(value)
    return json.dumps(value, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide what was raised
        return f"{type(error).__qualname__} could not be shown."
