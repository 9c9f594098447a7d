"""The same programs with the published AWS SDK in its local runner, and with ours in ours."""

import json
import subprocess
import sys
from typing import Any, Final

import pytest

from perdure.testing import DurableFunctionTestRunner
from tests.sdk.agreement import comparable, handler
from tests.sdk.agreement_programs import PROGRAMS, Program, Sdk
from tests.system.processes import ROOT

pytestmark = pytest.mark.timeout(240)

OURS: Final = Sdk("perdure")
COMMAND: Final = (sys.executable, "-W", "ignore", "-m", "tests.sdk.agreement")


def our_end(program: Program) -> Any:
    with DurableFunctionTestRunner(handler(OURS, program)) as runner:
        return comparable(runner.run({}))


def test_programs_come_to_the_same_as_with_the_sdk_of_aws() -> None:
    run = subprocess.run(
        COMMAND, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    assert run.returncode == 0, run.stderr
    theirs = json.loads(run.stdout)
    ours = {name: our_end(program) for name, program in PROGRAMS.items()}
    assert {name: (theirs[name], end) for name, end in ours.items() if theirs[name] != end} == {}
    assert theirs.keys() == ours.keys()
