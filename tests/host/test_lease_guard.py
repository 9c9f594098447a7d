"""The lease as a node knows it: it ends early here, and counts from the question."""

from perdure_host.lease_guard import LeaseGuard


def test_a_lease_ends_here_before_it_lapses_in_the_database() -> None:
    now_s = 100.0
    guard = LeaseGuard(10_000, lambda: now_s)

    def is_over_at(moment_s: float) -> bool:
        nonlocal now_s
        now_s = moment_s
        return guard.is_over

    assert not is_over_at(200.0)  # it was never held
    now_s = 200.0
    asked_s = guard.asking()
    now_s = 204.0  # the answer takes a while
    guard.renewed(asked_s)
    assert [is_over_at(moment_s) for moment_s in (208.9, 209.0, 210.0)] == [False, True, True]
    guard.renewed(guard.asking())
    assert [is_over_at(moment_s) for moment_s in (218.9, 219.0)] == [False, True]
