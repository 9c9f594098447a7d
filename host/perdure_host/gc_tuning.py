"""Garbage collector settings for a process that serves.

By default Python's collector of cyclic garbage scans everything that young objects might belong to
after every 700 allocations, and all live objects now and then: pauses of up to a tenth of a second,
and a sixth of the server's time. Hardly anything here is cyclic, so it may scan less often, and
what was imported and built before serving began stays until the process ends, so it is never
scanned.
"""

import gc
from typing import Final

# Allocations between two scans of the youngest generation; the other two are Python's defaults.
THRESHOLDS: Final = (10_000, 10, 10)
_THRESHOLDS_BEFORE: Final = gc.get_threshold()


def freeze_startup_objects() -> None:
    """Exclude all objects of now from scans, and scan later ones less often."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def unfreeze() -> None:
    """Undo `freeze_startup_objects`."""
    gc.set_threshold(*_THRESHOLDS_BEFORE)
    gc.unfreeze()
