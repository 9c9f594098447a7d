"""Public module: tests of durable functions with the real core in memory, on virtual time.

    from perdure.testing import DurableChildContextTestRunner, DurableFunctionTestRunner

All decisions are made by the same code as in production; only time, threads and the network are
simulated. It needs neither gRPC nor a database.
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
