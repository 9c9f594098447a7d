"""What tests of the Lambda API share."""

from tests.hosting.sdks import aws_sdk_1

__all__ = ["aws_sdk_1"]
