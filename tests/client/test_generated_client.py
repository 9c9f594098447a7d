"""The blocking client is the asyncio client without its awaiting, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from generate_client import SOURCE, SUBSTITUTIONS, UnusedSubstitutionError, substituted

GENERATOR = Path(__file__).parents[2] / "sdk" / "generate_client.py"


def test_the_blocking_client_is_that_of_its_source() -> None:
    done = subprocess.run(
        [sys.executable, str(GENERATOR), "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("replaced", list(SUBSTITUTIONS)[1:])
def test_a_substitution_that_replaces_nothing_is_an_error(replaced: str) -> None:
    source = SOURCE.read_text(encoding="utf-8").replace(replaced, "")
    with pytest.raises(UnusedSubstitutionError):
        substituted(source)


def test_nothing_asynchronous_is_left() -> None:
    generated = substituted(SOURCE.read_text(encoding="utf-8"))
    code = generated.split('"""', 2)[2]
    assert [word for word in ("async", "await ", "aio") if word in code] == []
