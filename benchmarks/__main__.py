"""Quick set of benchmarks: the cost of the parts, and the whole next to the machine's raw limits.

python -m benchmarks [PART …]
"""

import asyncio
import importlib
import inspect
import sys
from typing import Final

PARTS: Final = {
    "core": "decisions and folds",
    "sdk": "CPU of a step in the SDK, run and replayed",
    "history": "CPU and commits of an execution in history, matching and core",
    "store": "durable commits through the store",
    "large": "large values, and where to store smaller ones",
    "throughput": "the system on real processes, next to the raw limits",
}

# Those that take minutes run only when they are named.
LONG: Final = {
    "overload": "more starts than the system can do",
    "lists": "lists among a million executions, while executions run",
    "outages": "outages of PostgreSQL under load, with a standby",
}


def main(parts: list[str]) -> int:
    """Run the named parts, or all of the quick ones; return the exit status."""
    known = PARTS | LONG
    unknown = [part for part in parts if part not in known]
    if unknown:
        print(f"no such part: {', '.join(unknown)}; available: {', '.join(known)}")
        return 2
    for part in parts or PARTS:
        print(f"\n{part}: {known[part]}", flush=True)
        finished = importlib.import_module(f"benchmarks.{part}").main()
        if inspect.iscoroutine(finished):
            asyncio.run(finished)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
