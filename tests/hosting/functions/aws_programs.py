"""Handlers written with the AWS SDK alone, as users bring them.

They keep to what versions 1 and 3 of the SDK have in common.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from aws_durable_execution_sdk_python import (
    DurableContext,
    durable_execution,
    durable_step,
)
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration, InvokeConfig
from aws_durable_execution_sdk_python.types import StepContext


@durable_step
def add(step_context: StepContext, left: int, right: int) -> int:
    step_context.logger.info("adding", extra={"left": left})
    return left + right


@durable_execution
def steps(event: Any, context: DurableContext) -> Any:
    total = context.step(add(event["left"], event["right"]), name="sum")
    return {"total": context.step(add(total, 1), name="one more")}


@durable_execution
def asks(event: Any, context: DurableContext) -> Any:
    callback = context.create_callback(
        name="approval", config=CallbackConfig(timeout=Duration.from_seconds(60))
    )
    context.step(add(0, 0), name="asked")
    return {"answer": callback.result()}


@durable_execution
def calls(event: Any, context: DurableContext) -> Any:
    return context.invoke(os.environ["TARGET"], {"left": 1, "right": 2}, name="other")


@durable_execution
def calls_for_tenants(event: Any, context: DurableContext) -> Any:
    return [
        context.invoke("isolated:$LATEST", {}, name=tenant, config=InvokeConfig(tenant_id=tenant))
        for tenant in event["tenants"]
    ]


def isolated(event: Any, context: Any) -> Any:
    return [context.tenant_id, os.getpid()]


@durable_execution
def maps(event: Any, context: DurableContext) -> Any:
    batch: Any = context.map(event["items"], _double, name="doubled")
    return batch.get_results()


def _double(context: DurableContext, item: int, index: int, items: Sequence[Any]) -> int:
    return context.step(lambda _: item * 2, name=f"double {index}")


@durable_execution
def long_list(event: Any, context: DurableContext) -> Any:
    sizes = [
        len(context.step(lambda _: "y" * event["size"], name=f"step {number}"))
        for number in range(event["steps"])
    ]
    context.wait(Duration.from_seconds(1))
    return sizes


@durable_execution
def invokes_itself(event: Any, context: DurableContext) -> Any:
    def call(step_context: StepContext) -> Any:
        client = boto3.client("lambda")
        answer = client.invoke(
            FunctionName=os.environ["TARGET"], Payload=b'{"left": 2, "right": 3}'
        )
        return answer["Payload"].read().decode()

    return context.step(call, name="call")


@durable_execution
def sleeps_once(event: Any, context: DurableContext) -> Any:
    context.step(add(1, 2), name="done before")
    if first_time(event["marker"]):
        time.sleep(60)
    return "awake"


@durable_execution
def exits_once(event: Any, context: DurableContext) -> Any:
    context.step(add(1, 2), name="done before")
    if first_time(event["marker"]):
        os._exit(event["status"])
    return "alive"


@durable_execution
def killed_once(event: Any, context: DurableContext) -> Any:
    if first_time(event["marker"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@durable_execution
def holds(event: Any, context: DurableContext) -> Any:
    context.step(add(1, 2), name="before")
    while not Path(event["gate"]).exists():
        time.sleep(0.02)
    return context.step(add(2, 3), name="after")


@durable_execution
def raises(event: Any, context: DurableContext) -> Any:
    raise ValueError("not today")


def first_time(marker: str) -> bool:
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def plain(event: Any, context: Any) -> Any:
    print("printed by", context.function_name)
    print("to stderr", file=sys.stderr)
    return {
        "event": event,
        "client": getattr(context.client_context, "custom", None),
        "request": context.aws_request_id,
        "name": context.function_name,
        "arn": context.invoked_function_arn,
        "left": context.get_remaining_time_in_millis(),
        "greeting": os.environ.get("GREETING"),
    }


@durable_execution
def knows_its_client(event: Any, context: DurableContext) -> Any:
    """Read the client context, and again after a wait, which is in another invocation."""
    lambda_context: Any = context.lambda_context
    before = context.step(lambda _: lambda_context.client_context.custom, name="before")
    context.wait(Duration.from_seconds(1))
    return [before, lambda_context.client_context.custom]


def plain_raises(event: Any, context: Any) -> Any:
    raise KeyError("missing")


def sdk_version(event: Any, context: Any) -> str:
    return version("aws-durable-execution-sdk-python")
