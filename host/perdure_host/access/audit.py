"""The audit log: one line for each refusal, and for each action of an operator.

Must stay true: what strangers can cause is bounded. Refusals of one peer beyond its allowance, and
of all peers beyond theirs, are counted, and the count is logged. Actions are never left out.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from perdure_core.text import cut_chars
from perdure_host.access.bearer_tokens import Caller
from perdure_host.telemetry import open_log

PEERS_MAX: Final = 1_000
TEXT_CHARS_MAX: Final = 300
# Lines about refusals: so many at once, and then so many each second.
LINES_OF_PEER: Final = 20
LINES_OF_PEER_PER_S: Final = 1.0
LINES_OF_ALL: Final = 100
LINES_OF_ALL_PER_S: Final = 10.0
# How often the number of refusals without a line is logged, at most.
COUNT_S: Final = 10.0

_log = open_log("perdure.audit")


class Audit:
    """Writes the audit log of a server."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._all = _Allowance(LINES_OF_ALL, LINES_OF_ALL_PER_S, now_s())
        self._peers: OrderedDict[str, _Allowance] = OrderedDict()
        self._left_out = 0
        self._counted_s = now_s()

    def refused(
        self, action: str, caller: Caller | str | None, *, peer: str, status: str, reason: str
    ) -> None:
        """Log that a call was refused; a caller without a valid token or key is None."""
        now_s = self._now_s()
        self.count(now_s)
        if not (self._of_peer(_host_of(peer), now_s).take(now_s) and self._all.take(now_s)):
            self._left_out += 1
            return
        _log.warning(
            "call refused",
            action=_cut(action),
            caller=_name_of(caller),
            peer=_cut(peer),
            status=status,
            reason=_cut(reason),
        )

    def acted(
        self, action: str, caller: Caller | str | None, *, peer: str, target: str, status: str
    ) -> None:
        """Log an action of an operator, and how it ended."""
        _log.info(
            "operator action",
            action=action,
            caller=_name_of(caller),
            peer=_cut(peer),
            target=_cut(target),
            status=status,
        )

    def count(self, now_s: float | None = None) -> None:
        """Log how many refusals had no line of their own, if the time for it has come."""
        now_s = self._now_s() if now_s is None else now_s
        if self._left_out and now_s - self._counted_s >= COUNT_S:
            _log.warning("more calls refused, without a line for each", count=self._left_out)
            self._left_out = 0
            self._counted_s = now_s

    def _of_peer(self, host: str, now_s: float) -> "_Allowance":
        allowance = self._peers.pop(host, None)
        if allowance is None:
            allowance = _Allowance(LINES_OF_PEER, LINES_OF_PEER_PER_S, now_s)
            if len(self._peers) >= PEERS_MAX:
                self._peers.popitem(last=False)
        self._peers[host] = allowance
        return allowance


class _Allowance:
    """So many at once, and then so many each second."""

    def __init__(self, at_once: int, per_s: float, now_s: float) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._left = float(at_once)
        self._seen_s = now_s

    def take(self, now_s: float) -> bool:
        earned = (now_s - self._seen_s) * self._per_s
        self._left = min(self._at_once, self._left + earned)
        self._seen_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _host_of(peer: str) -> str:
    """Return a peer without its port, which is another one for each connection."""
    return peer.rpartition(":")[0] or peer


def _name_of(caller: Caller | str | None) -> str | None:
    return caller.name if isinstance(caller, Caller) else caller


def _cut(text: str) -> str:
    return cut_chars(text, TEXT_CHARS_MAX)
