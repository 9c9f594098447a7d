"""Conversion of exceptions to recorded errors, and back.

A record is bounded: the innermost frames of a stack trace are kept, the outermost are dropped
first, and frames of the SDK itself are omitted, since they do not explain the failure. After them
come the notes of the error, and what it came from: causes, what was being handled, and the errors
in a group.

Must stay true: any exception can be recorded. Nothing is set on one, since it may be frozen; what
it prints may raise; chains of causes may be long, and may go round in circles.
"""

import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar, cast

from perdure.exceptions import DurableOperationError, SerDesError, StepError, qualified_name
from perdure_core.limits import ERROR_INLINE_BYTES_MAX
from perdure_core.model import ErrorObject
from perdure_core.text import cut_bytes

FRAMES_MAX: Final = 100
# The most errors that are listed below the one that is recorded, and the notes of each.
REASONS_MAX: Final = 20
NOTES_MAX: Final = 10
REASON_FRAMES_MAX: Final = 3
# What one line about a reason may take.
REASON_BYTES_MAX: Final = 1_024
# Together they leave room for a few frames, whatever they hold.
TYPE_BYTES_MAX: Final = 1_024
MESSAGE_BYTES_MAX: Final = 12_288
DATA_BYTES_MAX: Final = 12_288
# Records of fields and lines cost a few bytes themselves, wherever they are counted encoded.
_ENVELOPE_BYTES: Final = 512
_LINE_ENVELOPE_BYTES: Final = 8

SERDES_ERROR_TYPE: Final = qualified_name(SerDesError)

E = TypeVar("E", bound=DurableOperationError | SerDesError)

_SDK_FOLDER = str(Path(__file__).parents[1])


def error_record(error: BaseException) -> ErrorObject:
    """Return the record of `error`, at most 32,768 bytes over all fields."""
    fields = (
        cut_bytes(_message(error), MESSAGE_BYTES_MAX),
        cut_bytes(_type(error), TYPE_BYTES_MAX),
        cut_bytes(_data(error), DATA_BYTES_MAX),
    )
    room = ERROR_INLINE_BYTES_MAX - _ENVELOPE_BYTES - sum(_size(field) for field in fields if field)
    frames = _innermost(_stack_trace(error), room)
    room -= sum(_size(line) + _LINE_ENVELOPE_BYTES for line in frames)
    return ErrorObject(*fields, stack_trace=(*frames, *_first(_reasons(error), room)))


def _described(error: BaseException) -> str:
    """Return the class and the message of an error, as one text of bounded length."""
    message = _message(error)
    name = _type(error)
    if isinstance(error, DurableOperationError):  # the class that was recorded
        name = error.error_type
    return cut_bytes(f"{name}: {message}" if message else name, REASON_BYTES_MAX)


def operation_error(
    error_class: type[DurableOperationError], recorded: ErrorObject | None
) -> DurableOperationError | SerDesError:
    """Return the exception that a recorded failure raises; equal on the first run and on replay.

    A value that could not be written or read raises `SerDesError`, whichever operation it failed.
    """
    known = recorded or ErrorObject()
    raised = SerDesError if known.type == SERDES_ERROR_TYPE else error_class
    return _with_cause(raised(*_fields(known)), known)


def wrapping_error(error_class: type[E], recorded: ErrorObject | None) -> E:
    """Return an `error_class` for a recorded failure of any type."""
    known = recorded or ErrorObject()
    return _with_cause(error_class(*_fields(known)), known)


def step_error(recorded: ErrorObject | None) -> DurableOperationError | SerDesError:
    """Return the exception that a failed step raises."""
    return operation_error(StepError, recorded)


def record_of(error: DurableOperationError | SerDesError) -> ErrorObject:
    """Return the record from which `error` was made."""
    return ErrorObject(error.message, error.error_type, error.data, tuple(error.stack_trace or ()))


def _fields(
    known: ErrorObject,
) -> tuple[str | None, str | None, str | None, tuple[str, ...] | None]:
    return known.message, known.type, known.data, known.stack_trace or None


def _with_cause(error: E, known: ErrorObject) -> E:
    message, error_type, data, stack_trace = _fields(known)
    error.__cause__ = DurableOperationError.from_error_fields(
        error_type, message, data, stack_trace
    )
    return error


def _message(error: BaseException) -> str:
    try:
        message = str(error)
        message.encode(errors="surrogatepass")  # a subclass of str may be broken as well
    except BaseException:  # noqa: BLE001 - a broken __str__ must not hide what was raised
        return f"{type(error).__qualname__} could not be shown."
    return message


def _type(error: BaseException) -> str:
    """Return the recorded name; of subclasses of SerDesError, that of SerDesError."""
    return SERDES_ERROR_TYPE if isinstance(error, SerDesError) else qualified_name(type(error))


def _data(error: BaseException) -> str | None:
    return error.data if isinstance(error, (DurableOperationError, SerDesError)) else None


def _stack_trace(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__, limit=-FRAMES_MAX)
    user_frames = [frame for frame in frames if not frame.filename.startswith(_SDK_FOLDER)]
    lines = traceback.StackSummary.from_list(user_frames).format()
    return [line.rstrip().encode(errors="replace").decode() for line in lines]


def _reasons(error: BaseException) -> Iterator[str]:
    """Yield lines about the notes of `error`, and about the errors that it came from."""
    seen = {id(error)}
    yield from _notes(error)
    waiting = deque(_direct_reasons(error))
    for _ in range(REASONS_MAX):
        while waiting and id(waiting[0][1]) in seen:
            waiting.popleft()
        if not waiting:
            return
        relation, reason = waiting.popleft()
        seen.add(id(reason))
        yield f"{relation} {_described(reason)}"
        yield from _stack_trace(reason)[-REASON_FRAMES_MAX:]
        yield from _notes(reason)
        waiting.extend(_direct_reasons(reason))
    if waiting:
        yield "and more"


def _direct_reasons(error: BaseException) -> list[tuple[str, BaseException]]:
    found: list[tuple[str, BaseException]] = []
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        found += [("with", each) for each in group.exceptions[:REASONS_MAX]]
    if error.__cause__ is not None:
        found.append(("caused by", error.__cause__))
    elif error.__context__ is not None and not error.__suppress_context__:
        found.append(("raised while handling", error.__context__))
    return found


def _notes(error: BaseException) -> list[str]:
    try:
        notes: object = getattr(error, "__notes__", ())
        texts = [each for each in cast("list[object]", notes) if isinstance(each, str)]
    except Exception:  # noqa: BLE001 - the attribute may be anything
        return []
    return [cut_bytes(f"note: {each}", REASON_BYTES_MAX) for each in texts[:NOTES_MAX]]


def _first(lines: Iterable[str], room: int) -> list[str]:
    lines_within: list[str] = []
    for each in lines:
        line = each.encode(errors="replace").decode()
        room -= _size(line) + _LINE_ENVELOPE_BYTES
        if room < 0:
            break
        lines_within.append(line)
    return lines_within


def _innermost(lines: list[str], room: int) -> tuple[str, ...]:
    innermost: list[str] = []
    for line in reversed(lines):
        room -= _size(line) + _LINE_ENVELOPE_BYTES
        if room < 0:
            break
        innermost.append(line)
    return tuple(reversed(innermost))


def _size(text: str) -> int:
    return len(text.encode())
