"""Fixtures of the Lambda API's tests.

`aws` is a node, a worker that hosts `functions/programs.toml`, and boto3, for each version of the
AWS SDK. It ends with its module: a node changes how the process collects garbage while it serves.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.hosting.paced import PacedMachine, paced_machine
from tests.hosting.sdks import aws_sdk_1
from tests.system.processes import ROOT

__all__ = ["aws", "aws_sdk_1", "sdk_is_1"]

PROGRAMS: Final = ROOT / "tests" / "lambda_api" / "functions" / "programs.toml"


@pytest.fixture(scope="module", params=["sdk 1", "sdk 3"])
def aws(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PacedMachine]:
    sdk: Path | None = None
    if request.param == "sdk 1":
        sdk = request.getfixturevalue("aws_sdk_1")
    with paced_machine(tmp_path_factory.mktemp("aws"), PROGRAMS, sdk) as machine:
        yield machine


@pytest.fixture
def sdk_is_1(aws: PacedMachine, request: pytest.FixtureRequest) -> bool:
    """Return whether handlers run with version 1 of the SDK."""
    version: str = request.node.callspec.params["aws"]
    return version == "sdk 1"
