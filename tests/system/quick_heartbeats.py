"""A `perdure` command whose server takes a worker for lost after a second without a heartbeat.

python -m tests.system.quick_heartbeats COMMAND…
"""

from functools import partial
from typing import Final

HEARTBEAT_INTERVAL_MS: Final = 200
HEARTBEAT_TIMEOUT_MS: Final = 1_000


if __name__ == "__main__":
    from perdure_cli import node
    from perdure_cli.main import main

    quick = partial(
        node.NodeSettings,
        heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        heartbeat_timeout_ms=HEARTBEAT_TIMEOUT_MS,
    )
    setattr(node, "NodeSettings", quick)  # noqa: B010 - type checkers know that it is a class
    main()
