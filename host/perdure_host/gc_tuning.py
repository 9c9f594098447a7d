"""Python's collector of cyclic garbage, set for a process that serves.

By default it looks at everything that young objects might belong to after every 700 of them, and at
all that lives in the process time and again: pauses of up to a tenth of a second, and a sixth of
the server's time. Hardly anything here is cyclic, so it may look more rarely, and what was imported
and built before serving began stays until the process ends, so it need not be looked at at all.
"""

import gc
from typing import Final

# Objects made and not freed before the youngest are looked at; the other two are Python's own.
THRESHOLDS: Final = (10_000, 10, 10)
_THRESHOLDS_BEFORE: Final = gc.get_threshold()


def spare_what_stays() -> None:
    """Never look again at what there is now, and more rarely at what comes."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def look_at_everything() -> None:
    """Take that back."""
    gc.set_threshold(*_THRESHOLDS_BEFORE)
    gc.unfreeze()
