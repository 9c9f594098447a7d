"""Taking large payloads out of what is decided, and putting them back into what is shown.

A decision is made of texts. Before it is folded in and written, each text above the bound is
replaced by its reference, and goes with the same commit to a place of its own. The same text twice
in one execution (a callback's result that a context returns, a branch's in its batch) is kept once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from perdure_core.decision import Decision, Delivery, ReportEnd, StartChild
from perdure_core.events import (
    CallbackSucceeded,
    ChainedInvokeStarted,
    ChainedInvokeSucceeded,
    ContextSucceeded,
    Event,
    ExecutionStarted,
    ExecutionSucceeded,
    OutcomeRecorded,
    Record,
    StepSucceeded,
)
from perdure_core.limits import PAYLOAD_INLINE_BYTES_MAX
from perdure_core.model import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    Details,
    ExecutionDetails,
    Operation,
    StepDetails,
)
from perdure_core.payload import Payload, StoredPayload, bytes_of, stored

_Field = Literal["input", "result"]
_Holder = TypeVar("_Holder", bound="Event | Delivery | Details")

# Which field of what holds a payload; nothing else does. Errors are small by their bound.
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


class Kept:
    """The texts that one change keeps outside, as UTF-8 by digest."""

    __slots__ = ("_known", "bodies")

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}
        self._known: dict[str, StoredPayload] = {}

    def without_texts(self, holder: _Holder) -> _Holder:
        """Return the event or delivery with its text replaced if that is large."""
        text = _large_text(holder)
        if text is None:
            return holder
        return msgspec.structs.replace(holder, **{_FIELDS[type(holder)]: self._keep(text)})

    def _keep(self, text: str) -> StoredPayload:
        reference = self._known.get(text)
        if reference is None:
            body = text.encode()
            reference = self._known[text] = stored(body)
            self.bodies[reference.digest] = body
        return reference


def take_out(record: Record, kept: Kept) -> Record:
    """Return the record as it is written; the large texts of its events are in `kept`."""
    # Nearly every record has none, and is left as it is after one look.
    if not any(map(_large_text, record.events)):
        return record
    return Record(record.at_ms, tuple([kept.without_texts(event) for event in record.events]))


def take_out_of_decision(decision: Decision, kept: Kept) -> Decision:
    """Return the decision as it is folded and written; its large texts are in `kept`."""
    if decision.record is None:
        return decision
    record = take_out(decision.record, kept)
    if record is decision.record:
        return decision
    return Decision(record, tuple([kept.without_texts(each) for each in decision.deliveries]))


def reference_in(holder: Event | Delivery | Details) -> StoredPayload | None:
    """Return the reference that an event, a delivery or an operation's details hold, if any."""
    field = _FIELDS.get(type(holder))
    payload: Payload | None = None if field is None else getattr(holder, field)
    return payload if isinstance(payload, StoredPayload) else None


def references_in(operations: Iterable[Operation]) -> list[StoredPayload]:
    """Return the references that operations hold, each once."""
    found = (reference_in(operation.details) for operation in operations)
    return list(dict.fromkeys(reference for reference in found if reference is not None))


def text_from(payload: Payload | None, texts: Mapping[StoredPayload, str]) -> str | None:
    """Return the text; None for a reference that is not among those given."""
    return texts.get(payload) if isinstance(payload, StoredPayload) else payload


def put_back(holder: _Holder, texts: Mapping[StoredPayload, str]) -> _Holder:
    """Return a copy with its text instead of the reference; the same if that is not given."""
    reference = reference_in(holder)
    if reference is None or reference not in texts:
        return holder
    return msgspec.structs.replace(holder, **{_FIELDS[type(holder)]: texts[reference]})


def operation_with_text(operation: Operation, texts: Mapping[StoredPayload, str]) -> Operation:
    """Return the operation with its text instead of the reference, if that is given."""
    if reference_in(operation.details) is None:
        return operation
    return msgspec.structs.replace(operation, details=put_back(operation.details, texts))


def operations_with_texts(
    operations: Sequence[Operation], texts: Mapping[StoredPayload, str]
) -> Sequence[Operation]:
    """Return the operations with those texts that are given; the same if that is none."""
    if not texts:
        return operations
    return [operation_with_text(operation, texts) for operation in operations]


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
