"""A ledger of what really happened, written outside of the system by the code that did it.

One line an entry, appended in one write: a completed write survives the end of its writer, and
entries of several processes never mix. The power of the machine is never cut here, hence no sync.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

LEDGER_VARIABLE: Final = "PERDURE_TEST_LEDGER"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One fact: order, actor, action, attempt, outcome, and time."""

    order: str
    who: str
    what: str
    attempt: int = 0
    outcome: str = ""
    at_ms: int = 0


def write_down(entry: Entry, path: str | Path | None = None) -> None:
    """Append an entry, stamped with the present time."""
    stamped = asdict(entry) | {"at_ms": time.time_ns() // 1_000_000}
    line = json.dumps(stamped).encode() + b"\n"
    ledger = os.open(
        path or os.environ[LEDGER_VARIABLE], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600
    )
    try:
        assert os.write(ledger, line) == len(line)
    finally:
        os.close(ledger)


class Reader:
    """Reads a ledger as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0

    def new(self) -> list[Entry]:
        """Return the entries that were added since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as ledger:
            ledger.seek(self._read_bytes)
            text = ledger.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return [Entry(**json.loads(line)) for line in whole.splitlines()]
