"""The audit log: what is listed, and what strangers can make of it."""

from structlog.testing import capture_logs
from structlog.typing import EventDict

from perdure_host.access.audit import COUNT_S, LINES_OF_ALL, LINES_OF_PEER, PEERS_MAX, Audit


class Flood:
    """An audit log, and refusals for it, on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.audit = Audit(now_s=lambda: self.now_s)

    def refuse(self, peer: str = "ipv4:10.0.0.5:1") -> None:
        self.audit.refused("Poll", None, peer=peer, status="UNAUTHENTICATED", reason="no token")


def refused(lines: list[EventDict]) -> int:
    return len([line for line in lines if line["event"] == "call refused"])


def test_refusals_of_one_peer_are_bounded_and_counted_and_leave_room_for_others() -> None:
    flood = Flood()
    with capture_logs() as lines:
        for port in range(1_000):
            flood.refuse(f"ipv4:10.0.0.5:{port}")
        assert refused(lines) == LINES_OF_PEER
        flood.refuse("ipv4:10.0.0.6:1")
        assert refused(lines) == LINES_OF_PEER + 1
        flood.now_s += COUNT_S
        flood.audit.count()
        flood.audit.count()
    (count,) = [line["count"] for line in lines if "count" in line]
    assert count == 1_000 - LINES_OF_PEER


def test_refusals_of_all_peers_together_are_bounded() -> None:
    flood = Flood()
    with capture_logs() as lines:
        for number in range(PEERS_MAX + 10):
            flood.refuse(f"ipv4:10.0.{number // 250}.{number % 250}:1")
    assert refused(lines) == LINES_OF_ALL


def test_a_peer_may_be_refused_again_with_a_line_once_time_has_passed() -> None:
    flood = Flood()
    with capture_logs() as lines:
        for _ in range(LINES_OF_PEER + 1):
            flood.refuse()
        flood.now_s += 1.0
        flood.refuse()
    assert refused(lines) == LINES_OF_PEER + 1


def test_actions_are_never_left_out() -> None:
    audit = Flood().audit
    with capture_logs() as lines:
        for _ in range(1_000):
            audit.acted("StopExecution", "ops", peer="p", target="arn:1", status="OK")
    assert len(lines) == 1_000
    assert lines[0] == {
        "event": "operator action",
        "action": "StopExecution",
        "caller": "ops",
        "peer": "p",
        "target": "arn:1",
        "status": "OK",
        "log_level": "info",
    }
