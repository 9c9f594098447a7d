"""Transcripts of executions: a changed reaction shows as a diff in a review.

PERDURE_REWRITE_TRANSCRIPTS=1 writes the current reactions into the transcripts.
"""

import os
from pathlib import Path

import pytest

from tests.core.transcript import rewrite

FOLDER = Path(__file__).parent / "transcripts"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.txt")))
def test_an_execution_still_reacts_as_written(name: str) -> None:
    path = FOLDER / name
    written = path.read_text(encoding="utf-8")
    today = rewrite(written)
    if os.environ.get("PERDURE_REWRITE_TRANSCRIPTS"):
        path.write_text(today, encoding="utf-8")
    else:
        assert written == today
