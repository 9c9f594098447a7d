"""Programs written with the AWS SDK, versions 1 and 3: chained invokes and their targets."""

from typing import Any

from aws_durable_execution_sdk_python import DurableContext
from aws_durable_execution_sdk_python.config import Duration, InvokeConfig
from words import LATER, caught


def invokes(event: Any, context: DurableContext) -> Any:
    config: InvokeConfig[Any, Any] = InvokeConfig(tenant_id=event["tenant"])
    return caught(
        lambda: context.invoke(event["target"], event["payload"], name="other", config=config)
    )


# Targets end once time has passed, so that the invocation that asked for them has ended before.


def echoes(event: Any, context: DurableContext) -> Any:
    context.wait(LATER, name="first")
    lambda_context: Any = context.lambda_context
    return {"echo": event["word"], "tenant": lambda_context.tenant_id}


def refuses(event: Any, context: DurableContext) -> Any:
    context.wait(LATER, name="first")
    raise ValueError("target")


def sleeps(event: Any, context: DurableContext) -> Any:
    context.wait(Duration.from_hours(1), name="long")
