"""Tuning of the garbage collector: it skips startup objects and still frees later ones."""

import gc
import weakref

from perdure_host.gc_tuning import THRESHOLDS, freeze_startup_objects, unfreeze


class Ring:
    """An object that only the garbage collector can free."""

    def __init__(self) -> None:
        self.me = self


def test_startup_objects_are_frozen_and_later_ones_are_collected() -> None:
    before = gc.get_threshold()
    freeze_startup_objects()
    try:
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == THRESHOLDS
        later = weakref.ref(Ring())
        gc.collect()
        assert later() is None
    finally:
        unfreeze()
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before
