"""Fixtures of the hosting tests: the functions of `functions/`, with each version of the AWS SDK.

`hosted_by_sdk` is a server, a worker that hosts `functions/functions.toml`, and boto3 to call them
with, for each version. Tests elsewhere use `tests.hosting.sdks` with files of their own.
"""

from typing import Final

from tests.hosting.sdks import aws_sdk_1, hosted_by_each_sdk
from tests.system.processes import ROOT

__all__ = ["FUNCTIONS", "aws_sdk_1", "hosted_by_sdk"]

FUNCTIONS: Final = ROOT / "tests" / "hosting" / "functions" / "functions.toml"

hosted_by_sdk = hosted_by_each_sdk(FUNCTIONS, "hosted_by_sdk")
