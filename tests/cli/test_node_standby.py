"""How patient a standby is with a node whose lease has expired."""

from perdure_cli.node_standby import GAP_S_MAX, Patience


class Watch:
    """A standby that looks once a second, on a clock that the test advances."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.patience = Patience(10_000, lambda: self.now_s)

    def look(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.patience.answered()


def test_a_node_that_falls_silent_alone_is_not_spared() -> None:
    watch = Watch()
    assert not watch.patience.must_spare()
    watch.look(30)
    assert not watch.patience.must_spare()


def test_after_an_outage_every_node_has_a_lease_long_to_renew() -> None:
    watch = Watch()
    watch.look(3)
    watch.now_s += 60
    watch.patience.missed()
    # The lease counts from the first answer, which is a second later.
    watch.look(10)
    assert watch.patience.must_spare()
    watch.look(1)
    assert not watch.patience.must_spare()


def test_a_look_that_took_long_counts_as_an_outage() -> None:
    watch = Watch()
    watch.look(3)
    watch.now_s += GAP_S_MAX + 1
    watch.patience.answered()
    assert watch.patience.must_spare()
    watch.look(10)
    assert not watch.patience.must_spare()
