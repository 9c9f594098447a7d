"""Test durable functions: the real core in memory, on a clock that jumps over every wait.

    from perdure.testing import DurableChildContextTestRunner, DurableFunctionTestRunner

Everything that production decides is decided here by the same code; only time, threads and the
network are played. Light on purpose: no gRPC, no database.
"""

from perdure.testing.crashes import CrashDivergence, for_each_crash
from perdure.testing.failures import Crash, DurableFunctionsTestError
from perdure.testing.history import ExecutionHistory, HistoryEvent
from perdure.testing.operations import (
    CallbackOperation,
    ContextOperation,
    ExecutionOperation,
    InvokeOperation,
    Operation,
    StepOperation,
    WaitOperation,
)
from perdure.testing.replaying import ReplayMismatch, ReplayReport, replay
from perdure.testing.result import DurableFunctionTestResult, InvocationStatus
from perdure.testing.runner import DurableChildContextTestRunner, DurableFunctionTestRunner
from perdure.testing.timeline import timeline

__all__ = [
    "CallbackOperation",
    "ContextOperation",
    "Crash",
    "CrashDivergence",
    "DurableChildContextTestRunner",
    "DurableFunctionTestResult",
    "DurableFunctionTestRunner",
    "DurableFunctionsTestError",
    "ExecutionHistory",
    "ExecutionOperation",
    "HistoryEvent",
    "InvocationStatus",
    "InvokeOperation",
    "Operation",
    "ReplayMismatch",
    "ReplayReport",
    "StepOperation",
    "WaitOperation",
    "for_each_crash",
    "replay",
    "timeline",
]
