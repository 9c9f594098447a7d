"""Identity of the execution that a handler runs for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExecutionContext:
    """The execution that a handler runs for."""

    durable_execution_arn: str
