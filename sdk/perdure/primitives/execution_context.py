"""What a handler is told about the execution that it belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExecutionContext:
    """Which execution this is."""

    durable_execution_arn: str
