"""Clock, randomness and names of real clients. `perdure.client.flows` takes them as arguments."""

import random
import time
import uuid

from perdure.client.flows import ClientEnvironment


def system_environment(patience_s: float) -> ClientEnvironment:
    """Return the clock, random numbers and UUIDs of this machine."""
    return ClientEnvironment(
        now_s=time.monotonic,
        random_unit=random.random,
        new_name=lambda: str(uuid.uuid4()),
        patience_s=patience_s,
    )
