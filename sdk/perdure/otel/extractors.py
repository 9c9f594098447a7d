"""Readers of trace headers, in both formats in use: the trace that an execution joins.

    Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1     X-Ray
    00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01                        W3C traceparent

The client that starts an execution sends the header; it is stored with the execution, so that every
invocation has the same. A header in neither format is ignored: the execution has its own trace.
Sources: AWS X-Ray Developer Guide, "Tracing header"; W3C Trace Context, section 3.2.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from perdure.plugins.hooks import InvocationStartInfo

_XRAY_ROOT: Final = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})", re.IGNORECASE | re.ASCII)
_XRAY_PARENT: Final = re.compile(r"[0-9a-f]{16}", re.IGNORECASE | re.ASCII)
_TRACEPARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.ASCII,
)
_TRACEPARENT_SAMPLED: Final = 1
_TRACE_ID_END: Final = 2**128
_SPAN_ID_END: Final = 2**64


class Sampling(Enum):
    """Sampling decision of a trace header."""

    SAMPLED = "sampled"
    NOT_SAMPLED = "not_sampled"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class ExtractedContext:
    """Contents of a trace header. Ids are None where it has no valid one."""

    trace_id: int | None
    parent_span_id: int | None
    sampling: Sampling = Sampling.UNDECIDED

    @property
    def has_valid_trace_id(self) -> bool:
        """True if there is a trace to join: an id above zero, of at most 128 bits."""
        return self.trace_id is not None and 0 < self.trace_id < _TRACE_ID_END

    @property
    def has_valid_parent_span_id(self) -> bool:
        """True if there is a parent span: an id above zero, of at most 64 bits."""
        return self.parent_span_id is not None and 0 < self.parent_span_id < _SPAN_ID_END

    @property
    def has_complete_remote_parent(self) -> bool:
        """True if both ids are valid."""
        return self.has_valid_trace_id and self.has_valid_parent_span_id


ContextExtractor = Callable[[InvocationStartInfo], ExtractedContext | None]


def xray_context_extractor(info: InvocationStartInfo) -> ExtractedContext | None:
    """Read the execution's trace header in X-Ray's format; return None if it has another."""
    fields = dict(_fields(info.trace_header or ""))
    root = _XRAY_ROOT.fullmatch(fields.get("Root", ""))
    parent = _XRAY_PARENT.fullmatch(fields.get("Parent", ""))
    decided = {"1": Sampling.SAMPLED, "0": Sampling.NOT_SAMPLED}
    extracted = ExtractedContext(
        (int(root[1] + root[2], 16) or None) if root else None,
        (int(parent[0], 16) or None) if parent else None,
        decided.get(fields.get("Sampled", ""), Sampling.UNDECIDED),
    )
    return None if extracted == ExtractedContext(None, None) else extracted


def w3c_client_context_extractor(info: InvocationStartInfo) -> ExtractedContext | None:
    """Read the execution's trace header as a W3C `traceparent`; None if it is none."""
    found = _TRACEPARENT.fullmatch((info.trace_header or "").strip())
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    sampled = int(found["flags"], 16) & _TRACEPARENT_SAMPLED
    extracted = ExtractedContext(
        int(found["trace"], 16),
        int(found["span"], 16),
        Sampling.SAMPLED if sampled else Sampling.NOT_SAMPLED,
    )
    return extracted if extracted.has_complete_remote_parent else None


def either_context_extractor(info: InvocationStartInfo) -> ExtractedContext | None:
    """Read the execution's trace header in either format."""
    return w3c_client_context_extractor(info) or xray_context_extractor(info)


def _fields(header: str) -> list[tuple[str, str]]:
    parts = (part.partition("=") for part in header.split(";"))
    return [(name.strip(), value.strip()) for name, equals, value in parts if equals]
