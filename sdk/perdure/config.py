"""Public module: the configuration of operations. Defined in `perdure.settings.operations`."""

from perdure.context.parallel_branch import ParallelBranch
from perdure.primitives.completion import (
    BatchItemStatus,
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionReason,
    CompletionStatus,
    complete_batch,
    continue_batch,
)
from perdure.primitives.duration import Duration
from perdure.primitives.jitter import JitterStrategy
from perdure.settings.operations import (
    BranchesConfig,
    CallbackConfig,
    ChildConfig,
    InvokeConfig,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
)

__all__ = [
    "BatchItemStatus",
    "BranchesConfig",
    "CallbackConfig",
    "ChildConfig",
    "CompletionConfig",
    "CompletionDecision",
    "CompletionItemStatus",
    "CompletionOutcome",
    "CompletionReason",
    "CompletionStatus",
    "Duration",
    "InvokeConfig",
    "JitterStrategy",
    "MapConfig",
    "NestingType",
    "ParallelBranch",
    "ParallelConfig",
    "StepConfig",
    "StepSemantics",
    "WaitForCallbackConfig",
    "complete_batch",
    "continue_batch",
]
