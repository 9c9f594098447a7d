"""Taking large payloads and errors out of what is decided, and back into what is shown.

A decision is made of texts. Before it is folded in and written, each text above the bound is
replaced by its reference, and goes with the same commit to a place of its own. The same text twice
in one execution (a callback's result that a context returns, a branch's in its batch) is kept once.
Of an error its beginning stays beside the reference, for those who need no more.
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

# Which field of what holds a payload; nothing else does.
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
# What may hold an error, in the field `error`.
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
    """The texts that one change keeps outside, as UTF-8 by digest."""

    __slots__ = ("_known", "bodies")

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}
        # By identity: a dictionary would look through the whole text once more, to hash it. Texts
        # are held here, since the identity of one that is gone may be another's.
        self._known: dict[int, tuple[str, bytes, StoredPayload]] = {}

    def know(self, text: str) -> None:
        """Work out the reference to a text ahead of its being kept; that of a large one takes long.

        From any thread, while nobody else uses this.
        """
        if id(text) not in self._known:
            body = text.encode()
            self._known[id(text)] = (text, body, stored(body))

    def without_texts(self, holder: _Holder) -> _Holder:
        """Return the event or delivery with its text and its error replaced if they are large."""
        replaced: dict[str, object] = {}
        text, error = _large_text(holder), _large_error(holder)
        if text is not None:
            replaced[_FIELDS[type(holder)]] = self._keep(text)
        if error is not None:
            kept = self._keep(_encoder.encode(error).decode())
            replaced["error"] = beginning_of(error, kept)
        return msgspec.structs.replace(holder, **replaced) if replaced else holder

    def _keep(self, text: str) -> StoredPayload:
        self.know(text)
        _, body, reference = self._known[id(text)]
        self.bodies[reference.digest] = body
        return reference


def externalize(record: Record, kept: ExternalPayloads) -> Record:
    """Return the record as it is written; the large texts of its events are in `kept`."""
    # Nearly every record has none, and is left as it is after one look.
    if not any(map(_is_large, record.events)):
        return record
    return Record(record.at_ms, tuple([kept.without_texts(event) for event in record.events]))


def externalize_decision(decision: Decision, kept: ExternalPayloads) -> Decision:
    """Return the decision as it is folded and written; its large texts are in `kept`."""
    if decision.record is None:
        return decision
    record = externalize(decision.record, kept)
    if record is decision.record:
        return decision
    return Decision(record, tuple([kept.without_texts(each) for each in decision.deliveries]))


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


def text_from(payload: Payload | None, texts: Mapping[StoredPayload, str]) -> str | None:
    """Return the text; None for a reference that is not among those given."""
    return texts.get(payload) if isinstance(payload, StoredPayload) else payload


def error_from(error: ErrorObject | None, texts: Mapping[StoredPayload, str]) -> ErrorObject | None:
    """Return the whole error, or its beginning when the rest is not among the texts."""
    if error is None or error.kept is None or error.kept not in texts:
        return error
    return _decoder.decode(texts[error.kept])


def inline(holder: _Holder, texts: Mapping[StoredPayload, str]) -> _Holder:
    """Return a copy with its texts instead of references; the same if none of them is given."""
    replaced: dict[str, object] = {}
    reference, error = reference_in(holder), _error_of(holder)
    if reference is not None and reference in texts:
        replaced[_FIELDS[type(holder)]] = texts[reference]
    if error is not None and error.kept is not None and error.kept in texts:
        replaced["error"] = error_from(error, texts)
    return msgspec.structs.replace(holder, **replaced) if replaced else holder


def operation_with_text(operation: Operation, texts: Mapping[StoredPayload, str]) -> Operation:
    """Return the operation with its texts instead of references, if they are given."""
    if not references_of(operation.details):
        return operation
    return msgspec.structs.replace(operation, details=inline(operation.details, texts))


def operations_with_texts(
    operations: Sequence[Operation], texts: Mapping[StoredPayload, str]
) -> Sequence[Operation]:
    """Return the operations with those texts that are given; the same if that is none."""
    if not texts:
        return operations
    return [operation_with_text(operation, texts) for operation in operations]


def _is_large(event: Event) -> bool:
    return _large_text(event) is not None or _large_error(event) is not None


def _error_of(holder: Event | Delivery | Details) -> ErrorObject | None:
    if type(holder) not in _FAILING:
        return None
    error: ErrorObject | None = getattr(holder, "error")  # noqa: B009 - not every holder has it
    return error


def _large_error(holder: Event | Delivery | Details) -> ErrorObject | None:
    """Return the error that it holds, if it is too large to stay there and still does."""
    error = _error_of(holder)
    if error is None or error.kept is not None:
        return None
    return error if error_bytes(error) > ERROR_INLINE_BYTES_MAX else None


def _large_text(holder: Event | Delivery | Details) -> str | None:
    """Return the text that it holds, if it is too large to stay there."""
    field = _FIELDS.get(type(holder))
    if field is None:
        return None
    text: Payload | None = getattr(holder, field)
    if not isinstance(text, str):
        return None
    # No text has fewer bytes than characters, so the size of a long one need not be known.
    bound = PAYLOAD_INLINE_BYTES_MAX
    return text if len(text) > bound or bytes_of(text) > bound else None
