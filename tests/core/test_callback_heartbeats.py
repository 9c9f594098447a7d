"""Heartbeats of a callback: few are recorded, and its timeout never strikes early."""

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from perdure_core.commands import HeartbeatCallback
from tests.core.scene import ORDER, Scene, update

TIMEOUT_S = 60
# Of a callback with this timeout that is no older than a few minutes.
INTERVAL_MS = 5_000


def waiting(timeout_s: int = TIMEOUT_S) -> Scene:
    """Return an execution that waits for a callback with a heartbeat timeout."""
    scene = Scene(msgspec.structs.replace(ORDER, timeout_s=31_622_400))
    scene.take()
    scene.checkpoint(update("CALLBACK", "START", "cb", heartbeat_timeout_s=timeout_s))
    scene.complete("PENDING")
    return scene


def beat(scene: Scene) -> bool:
    """Send a heartbeat; return whether it was recorded."""
    return scene.do(HeartbeatCallback("cb")).record is not None


def due_ms(scene: Scene) -> int:
    due = scene.state.alarms.next_due_ms()
    assert due is not None
    return due


def test_thousands_of_heartbeats_leave_a_few_records() -> None:
    scene = waiting()
    recorded = 0
    for _ in range(4_000):
        scene.wait(10)
        recorded += beat(scene)
    assert recorded <= 2 + 40_000 // INTERVAL_MS


def test_heartbeats_far_apart_move_the_timeout_exactly() -> None:
    scene = waiting()
    for _ in range(3):
        scene.wait(20_000)
        assert beat(scene)
        assert due_ms(scene) == scene.now_ms + TIMEOUT_S * 1_000


def test_a_short_timeout_is_late_by_a_tenth_of_it_at_most() -> None:
    scene = waiting(timeout_s=1)
    for _ in range(50):
        scene.wait(10)
        beat(scene)
    assert 0 <= due_ms(scene) - scene.now_ms - 1_000 <= 100


def test_an_old_callback_records_a_heartbeat_for_each_hundredth_of_its_age() -> None:
    scene = waiting(timeout_s=86_400)
    recorded = 0
    for _ in range(10_000):
        scene.wait(3_600_000 // 100)
        recorded += beat(scene)
    assert recorded < 600


@given(st.lists(st.integers(0, 40_000), max_size=60))
def test_the_timeout_is_never_early_and_little_late(gaps_ms: list[int]) -> None:
    scene = waiting()
    began_ms, recorded = scene.now_ms, 0
    for gap_ms in gaps_ms:
        scene.wait(gap_ms)
        recorded += beat(scene)
        late_ms = due_ms(scene) - scene.now_ms - TIMEOUT_S * 1_000
        assert 0 <= late_ms <= max(INTERVAL_MS, (scene.now_ms - began_ms) // 100)
    assert recorded <= 2 + (scene.now_ms - began_ms) / INTERVAL_MS


@pytest.mark.parametrize("silent_ms", [TIMEOUT_S * 1_000 - 1, TIMEOUT_S * 1_000 + INTERVAL_MS])
def test_silence_after_many_heartbeats_ends_the_callback_at_the_timeout(silent_ms: int) -> None:
    scene = waiting()
    for _ in range(100):
        scene.wait(100)
        beat(scene)
    scene.wait(silent_ms)
    is_open = silent_ms < TIMEOUT_S * 1_000
    assert (scene.state.operations["cb"].status == "STARTED") is is_open
