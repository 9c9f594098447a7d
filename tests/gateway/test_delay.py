"""Admission by measured delay: what is refused, from when on, and for how long."""

import pytest

from perdure_gateway.admission.delay import (
    QUEUE_S_MAX,
    QUEUED_STARTS_MIN,
    RETRY_AFTER_S_MAX,
    STANDING_S,
    TARGET_S,
    DelayGate,
    Kind,
)

TENTHS = round(STANDING_S * 10)


def measured(gate: DelayGate, delay_s: float, *, until_s: float, since_s: float = 0.0) -> None:
    """Measure the same delay ten times a second."""
    for tenth in range(round(since_s * 10), round(until_s * 10) + 1):
        gate.measured(delay_s, tenth / 10)


@pytest.mark.parametrize("kind", Kind)
def test_a_delay_that_stands_is_refused_and_a_burst_is_not(kind: Kind) -> None:
    gate = DelayGate()
    measured(gate, TARGET_S[kind], until_s=STANDING_S - 0.1)
    assert not gate.is_behind(kind, STANDING_S - 0.1)
    gate.measured(TARGET_S[kind], STANDING_S)
    assert gate.is_behind(kind, STANDING_S)


@pytest.mark.parametrize("kind", Kind)
def test_one_delay_below_the_target_ends_it(kind: Kind) -> None:
    gate = DelayGate()
    measured(gate, 10.0, until_s=5.0)
    gate.measured(TARGET_S[kind] - 0.01, 5.1)
    assert not gate.is_behind(kind, 5.1)


def test_starts_are_refused_before_callbacks() -> None:
    gate = DelayGate()
    measured(gate, TARGET_S[Kind.CALLBACK] - 0.01, until_s=5.0)
    assert (gate.is_behind(Kind.START, 5.0), gate.is_behind(Kind.CALLBACK, 5.0)) == (True, False)


@pytest.mark.parametrize(
    ("queued", "wait_s", "refused"),
    [
        (QUEUED_STARTS_MIN, QUEUE_S_MAX, True),
        (QUEUED_STARTS_MIN - 1, 3_600.0, False),
        (1_000_000, QUEUE_S_MAX - 0.01, False),
    ],
)
def test_a_start_whose_caller_waits_is_refused_behind_a_long_queue(
    queued: int, wait_s: float, *, refused: bool
) -> None:
    assert DelayGate().is_too_long(queued, wait_s, 0.0, waits=True) is refused


def test_a_start_that_nobody_waits_for_may_wait_for_long_unless_the_node_is_busy() -> None:
    gate = DelayGate()
    assert not gate.is_too_long(100_000, 3_600.0, 0.0, waits=False)
    measured(gate, 0.1, until_s=STANDING_S)
    assert not gate.is_behind(Kind.START, STANDING_S)
    assert gate.is_too_long(100_000, 3_600.0, STANDING_S, waits=False)


def test_the_more_are_refused_the_later_each_may_come_back() -> None:
    gate = DelayGate()
    few = [gate.refuse(0.5) for _ in range(2)]
    for _ in range(100):
        gate.admit(1.5)
    many = [gate.refuse(1.5) for _ in range(1_000)]
    late = many[-100:]
    assert max(few) <= 5
    # About eleven seconds, half as much more or less.
    assert 9 <= sum(late) / len(late) <= 13
    assert max(late) - min(late) >= 9
    assert max(gate.refuse(2.5) for _ in range(10_000)) == RETRY_AFTER_S_MAX
