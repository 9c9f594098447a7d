"""The demonstration, run on this machine from its start to its end."""

import subprocess
import sys

import pytest

from tests.system.processes import ROOT

DEMO_S_MAX = 260


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_the_demonstration_ends_with_every_order_processed() -> None:
    demo = subprocess.run(
        [sys.executable, "examples/demo.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEMO_S_MAX,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "the worker is killed (SIGKILL) in the middle of process_order" in demo.stdout
    assert "the server is killed (SIGKILL) in the middle of process_order" in demo.stdout
    for order in ("order-1", "order-2", "order-3", "order-4"):
        assert f'{{"order_id": "{order}", "status": "processed"}}' in demo.stdout
