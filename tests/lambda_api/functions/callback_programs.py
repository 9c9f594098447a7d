"""Programs written with the AWS SDK, versions 1 and 3: callbacks."""

from typing import Any

from aws_durable_execution_sdk_python import DurableContext
from aws_durable_execution_sdk_python.config import (
    CallbackConfig,
    Duration,
    WaitForCallbackConfig,
)
from words import LATER, caught, once_more


def asks(event: Any, context: DurableContext) -> Any:
    config = CallbackConfig(
        timeout=Duration.from_seconds(event["timeout"]),
        heartbeat_timeout=Duration.from_seconds(event["heartbeat"]),
    )
    callback = context.create_callback(name="approval", config=config)
    return caught(callback.result)


def waits_beside_a_callback(event: Any, context: DurableContext) -> Any:
    callback = context.create_callback(name="approval")
    context.wait(LATER, name="rest")
    return callback.result()


def waits_for_callback(event: Any, context: DurableContext) -> Any:
    def submit(identifier: str, submitting: Any) -> None:
        if event["submitter_fails"]:
            raise ValueError("nobody is there")

    config = WaitForCallbackConfig(
        timeout=Duration.from_seconds(event["timeout"]),
        heartbeat_timeout=Duration.from_seconds(event["heartbeat"]),
        retry_strategy=once_more,
    )
    return caught(lambda: context.wait_for_callback(submit, name="approval", config=config))
