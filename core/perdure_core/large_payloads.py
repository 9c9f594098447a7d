"""Large payloads and errors: out of decisions before they are recorded, back into what is read.

A decision is made of texts. Before it is folded in and written, each text above the bound is
replaced by its reference, and is written by the same commit outside the record. The same text twice
in one execution (a callback's result that a context returns, a branch's in its batch) is stored
once. Of an error the beginning stays beside the reference, for readers who need no more.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from perdure_core.decision import Decision, Delivery, ReportEnd, StartChild
from perdure_core.events import (
    CallbackFailed,
    CallbackSucceeded,
    CallbackTimedOut,
    ChainedInvokeFailed,
    ChainedInvokeStarted,
    ChainedInvokeStopped,
    ChainedInvokeSucceeded,
    ChainedInvokeTimedOut,
    ContextFailed,
    ContextSucceeded,
    Event,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionStopped,
    ExecutionSucceeded,
    ExecutionTimedOut,
    InvocationCompleted,
    OutcomeRecorded,
    Record,
    StepFailed,
    StepSucceeded,
    WaitCancelled,
)
from perdure_core.json_text import is_same_value
from perdure_core.limits import ERROR_INLINE_BYTES_MAX, PAYLOAD_INLINE_BYTES_MAX
from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    Details,
    ErrorObject,
    ExecutionDetails,
    Operation,
    StepDetails,
)
from perdure_core.payload import Payload, StoredPayload, bytes_of, stored
from perdure_core.validation import beginning_of, error_bytes

_Field = Literal["input", "result"]
_Holder = TypeVar("_Holder", bound="Event | Delivery | Details")

# The field that holds a payload, by class; no other class has one.
_FIELDS: Final[dict[type, _Field]] = {
    ExecutionStarted: "input",
    ExecutionSucceeded: "result",
    OutcomeRecorded: "result",
    ContextSucceeded: "result",
    StepSucceeded: "result",
    CallbackSucceeded: "result",
    ChainedInvokeStarted: "input",
    ChainedInvokeSucceeded: "result",
    StartChild: "input",
    ReportEnd: "result",
    ExecutionDetails: "input",
    ContextDetails: "result",
    StepDetails: "result",
    CallbackDetails: "result",
    ChainedInvokeDetails: "result",
}
# Classes that may hold an error, in the field `error`.
_FAILING: Final[frozenset[type]] = frozenset(
    {
        *(ExecutionFailed, ExecutionTimedOut, ExecutionStopped, InvocationCompleted),
        *(OutcomeRecorded, ContextFailed, StepFailed, WaitCancelled),
        *(CallbackFailed, CallbackTimedOut),
        *(ChainedInvokeFailed, ChainedInvokeTimedOut, ChainedInvokeStopped, ReportEnd),
        *(ContextDetails, StepDetails, CallbackDetails, ChainedInvokeDetails),
    }
)
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(ErrorObject)


class ExternalPayloads:
    """The texts that one change stores outside the record, as UTF-8 by digest."""

    __slots__ = ("_references", "bodies")

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}
        # By identity: hashing a text for a dictionary would read all of it once more. The texts are
        # held here, since the identity of one that is gone may be reused.
        self._references: dict[int, tuple[str, bytes, StoredPayload]] = {}

    def prepare(self, text: str) -> None:
        """Compute the reference to a text ahead of time; that of a large one takes long.

        Safe from any thread, while no other uses this object.
        """
        if id(text) not in self._references:
            body = text.encode()
            self._references[id(text)] = (text, body, stored(body))

    def externalized(self, holder: _Holder) -> _Holder:
        """Return the event or delivery with its text and its error replaced if they are large."""
        replaced: dict[str, object] = {}
        text, error = _large_text(holder), _large_error(holder)
        if text is not None:
            replaced[_FIELDS[type(holder)]] = self._add(text)
        if error is not None:
            replaced["error"] = beginning_of(error, self._add(_encoder.encode(error).decode()))
        return msgspec.structs.replace(holder, **replaced) if replaced else holder

    def _add(self, text: str) -> StoredPayload:
        self.prepare(text)
        _, body, reference = self._references[id(text)]
        self.bodies[reference.digest] = body
        return reference


def externalize(record: Record, external: ExternalPayloads) -> Record:
    """Return the record as it is written; add the large texts of its events to `external`."""
    # Nearly every record has none, and is returned as it is after one look.
    if not any(map(_is_large, record.events)):
        return record
    return Record(record.at_ms, tuple([external.externalized(event) for event in record.events]))


def externalize_decision(decision: Decision, external: ExternalPayloads) -> Decision:
    """Return the decision as it is folded and written; add its large texts to `external`."""
    if decision.record is None:
        return decision
    record = externalize(decision.record, external)
    if record is decision.record:
        return decision
    return Decision(record, tuple([external.externalized(each) for each in decision.deliveries]))


def references_of(holder: Event | Delivery | Details) -> tuple[StoredPayload, ...]:
    """Return the references that an event, a delivery or an operation's details hold."""
    error = _error_of(holder)
    found = (reference_in(holder), None if error is None else error.kept)
    return tuple([reference for reference in found if reference is not None])


def reference_in(holder: Event | Delivery | Details) -> StoredPayload | None:
    """Return the reference to the input or the result, if there is one."""
    field = _FIELDS.get(type(holder))
    payload: Payload | None = None if field is None else getattr(holder, field)
    return payload if isinstance(payload, StoredPayload) else None


def references_in(operations: Iterable[Operation]) -> list[StoredPayload]:
    """Return the references that operations hold, each once."""
    return list(
        dict.fromkeys(
            reference for operation in operations for reference in references_of(operation.details)
        )
    )


def is_same_text(recorded: Payload | None, text: str | None) -> bool:
    """Return whether a text is the recorded one, or the same JSON value; a large one is hashed."""
    if not isinstance(recorded, StoredPayload):
        both = recorded is not None and text is not None
        return recorded == text or (both and is_same_value(recorded or "", text or ""))
    return text is not None and _is_stored_as(recorded, text)


def is_same_error(recorded: ErrorObject | None, error: ErrorObject | None) -> bool:
    """Return whether an error is the recorded one, of which a large one has only its beginning."""
    recorded, error = recorded or ErrorObject(), error or ErrorObject()
    if recorded.kept is None:
        return recorded == error
    return _is_stored_as(recorded.kept, _encoder.encode(error).decode())


def text_from(payload: Payload | None, texts: Mapping[StoredPayload, str]) -> str | None:
    """Return the text; None for a reference whose text is not among `texts`."""
    return texts.get(payload) if isinstance(payload, StoredPayload) else payload


def error_from(error: ErrorObject | None, texts: Mapping[StoredPayload, str]) -> ErrorObject | None:
    """Return the whole error, or its beginning when the whole is not among `texts`."""
    if error is None or error.kept is None or error.kept not in texts:
        return error
    return _decoder.decode(texts[error.kept])


def inline(holder: _Holder, texts: Mapping[StoredPayload, str]) -> _Holder:
    """Return a copy with texts instead of references; the same if no text is among `texts`."""
    replaced: dict[str, object] = {}
    reference, error = reference_in(holder), _error_of(holder)
    if reference is not None and reference in texts:
        replaced[_FIELDS[type(holder)]] = texts[reference]
    if error is not None and error.kept is not None and error.kept in texts:
        replaced["error"] = error_from(error, texts)
    return msgspec.structs.replace(holder, **replaced) if replaced else holder


def inline_operation(operation: Operation, texts: Mapping[StoredPayload, str]) -> Operation:
    """Return the operation with texts instead of references, as far as `texts` has them."""
    if not references_of(operation.details):
        return operation
    return msgspec.structs.replace(operation, details=inline(operation.details, texts))


def inline_operations(
    operations: Sequence[Operation], texts: Mapping[StoredPayload, str]
) -> Sequence[Operation]:
    """Return the operations with texts instead of references, as far as `texts` has them."""
    if not texts:
        return operations
    return [inline_operation(operation, texts) for operation in operations]


def _is_stored_as(reference: StoredPayload, text: str) -> bool:
    # Hashing takes long; most texts that differ have another size.
    return bytes_of(text) == reference.size and stored(text.encode()) == reference


def _is_large(event: Event) -> bool:
    return _large_text(event) is not None or _large_error(event) is not None


def _error_of(holder: Event | Delivery | Details) -> ErrorObject | None:
    if type(holder) not in _FAILING:
        return None
    error: ErrorObject | None = getattr(holder, "error")  # noqa: B009 - not every holder has it
    return error


def _large_error(holder: Event | Delivery | Details) -> ErrorObject | None:
    """Return the error of the holder, if it is whole and too large for the record."""
    error = _error_of(holder)
    if error is None or error.kept is not None:
        return None
    return error if error_bytes(error) > ERROR_INLINE_BYTES_MAX else None


def _large_text(holder: Event | Delivery | Details) -> str | None:
    """Return the text of the holder, if it is too large for the record."""
    field = _FIELDS.get(type(holder))
    if field is None:
        return None
    text: Payload | None = getattr(holder, field)
    if not isinstance(text, str):
        return None
    # No text has fewer bytes than characters, so a long one need not be encoded.
    bound = PAYLOAD_INLINE_BYTES_MAX
    return text if len(text) > bound or bytes_of(text) > bound else None
