"""The time, chance and identity of real clients; `perdure.client.flows` takes them as given."""

import random
import time
import uuid

from perdure.client.flows import World


def real_world(patience_s: float) -> World:
    """Return this machine's clock and dice."""
    return World(
        now_s=time.monotonic,
        chance=random.random,
        new_name=lambda: str(uuid.uuid4()),
        patience_s=patience_s,
    )
