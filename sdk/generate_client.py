"""Generator of the blocking client from the asyncio one.

`make client` runs this after a change of `perdure/client/asynchronous.py`; `--check` only compares.
What must stay true: the two clients differ by nothing but the substitutions below. Each of them
occurs in the source, so that none outlives what it was written for.
"""

import argparse
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent / "perdure" / "client"
SOURCE = CLIENT / "asynchronous.py"
TARGET = CLIENT / "blocking.py"

HEADER = '''"""The blocking client. Generated from `asynchronous.py` by `make client`; do not edit.

with Client() as client:
    print(client.run("order", {"order_id": "17"}, name="order-17"))
"""

'''
IMPORTS = "import asyncio"

# In this order: "await" also begins the words of docstrings.
SUBSTITUTIONS = {
    IMPORTS: "import time",
    "asyncio.sleep": "time.sleep",
    "await ": "",
    "async def ": "def ",
    "for item in page.items:\n                yield item": "yield from page.items",
    "async for message in stream:\n                yield message": "yield from stream",
    "async for ": "for ",
    "AsyncIterator": "Iterator",
    "AsyncClient": "Client",
    "AioClientChannel": "ClientChannel",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "Client of one server, for asyncio. One client belongs to one event loop.": (
        "Client of one server. Threads may share it, and it works in processes that are forked."
    ),
}


class UnusedSubstitutionError(Exception):
    """The source does not contain what a substitution replaces."""


def main() -> int:
    """Write the client, or compare it with the file, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare; change nothing")
    only_check = parser.parse_args().check
    generated = formatted(substituted(SOURCE.read_text(encoding="utf-8")))
    if not only_check:
        TARGET.write_text(generated, encoding="utf-8")
        return 0
    if generated == TARGET.read_text(encoding="utf-8"):
        return 0
    print(f"{TARGET} is out of date: run `make client`, and edit {SOURCE.name} only")
    return 1


def substituted(source: str) -> str:
    """Return the source with everything replaced, and a docstring of its own."""
    text = source[source.index(IMPORTS) :]
    for old, new in SUBSTITUTIONS.items():
        if old not in text:
            raise UnusedSubstitutionError(old)
        text = text.replace(old, new)
    return HEADER + text


def formatted(source: str) -> str:
    """Return the source as ruff leaves it: with imports in order."""
    mended = _ruff("check", "--fix", "--quiet", "--select", "I", source=source)
    return _ruff("format", "--quiet", source=mended)


def _ruff(*arguments: str, source: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(TARGET), "-"]
    done = subprocess.run(
        command, input=source, capture_output=True, check=True, text=True, encoding="utf-8"
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
