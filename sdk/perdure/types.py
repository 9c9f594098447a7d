"""Public module: the contexts passed to user functions, and the types of what users pass in."""

from perdure.context.durable_context import DurableContext
from perdure.primitives.operation_contexts import (
    Callback,
    DurableExecutionArn,
    LoggerInterface,
    OperationContext,
    StepContext,
    SummaryGenerator,
    WaitForCallbackContext,
    WaitForConditionCheckContext,
)
from perdure.serdes.batch_result import BatchResult

__all__ = [
    "BatchResult",
    "Callback",
    "DurableContext",
    "DurableExecutionArn",
    "LoggerInterface",
    "OperationContext",
    "StepContext",
    "SummaryGenerator",
    "WaitForCallbackContext",
    "WaitForConditionCheckContext",
]
