"""The ends of the executions in this folder's databases: the result, or another end."""

from typing import Any, Final

ENDS: Final[dict[str, Any]] = {
    "asks": '{"told":"asks/answer"}',
    "asks_by_submitter": '{"told":"asks_by_submitter/answer create callback id"}',
    "breaks": "whole",
    "creates_waits": [True, True],
    "diverges": "straight",
    "does_in_parallel": [["first"], 1, ["slept", '{"told":"does_in_parallel/answer"}', 2]],
    "does_steps": [2, 1, True],
    "doubles": 42,
    "draws": [True, True, True],
    "ends_ahead": "ahead",
    "fails_in_batches": [
        [
            [
                "AnyOfError(perdure.composition.AnyOfError)",
                ["ChildContextError(ValueError, bad)", "DurableOperationError(ValueError, bad)"],
                [
                    "ChildContextError(LookupError, worse)",
                    "DurableOperationError(LookupError, worse)",
                ],
            ],
            [
                "ChildContextError(perdure.composition.AnyOfError, [ × 56)",
                "AnyOfError(perdure.composition.AnyOfError)",
                ["ChildContextError(ValueError, bad)", "DurableOperationError(ValueError, bad)"],
                [
                    "ChildContextError(LookupError, worse)",
                    "DurableOperationError(LookupError, worse)",
                ],
            ],
            [
                "BatchCompletionError(perdure.batch_result.BatchCompletionError)",
                "CUSTOM_COMPLETION_FAILED",
            ],
            [
                "ChildContextError(perdure.batch_result.BatchCompletionError)",
                "BatchCompletionError(perdure.batch_result.BatchCompletionError)",
                "CUSTOM_COMPLETION_FAILED",
            ],
            ["ChildContextError(ValueError, bad)", "DurableOperationError(ValueError, bad)"],
            ["ChildContextError(ValueError, bad)", "DurableOperationError(ValueError, bad)"],
            ["ChildContextError(ValueError, bad)", "DurableOperationError(ValueError, bad)"],
        ],
        [],
    ],
    "fails_in_contexts": [
        [
            [
                "ChildContextError(perdure.exceptions.StepError, boom)",
                "StepError(perdure.exceptions.StepError, boom)",
            ],
            [
                "ChildContextError(perdure.exceptions.ChildContextError, boom)",
                "ChildContextError(perdure.exceptions.ChildContextError, boom)",
            ],
            [
                "ChildContextError(perdure.exceptions.InvokeError, boom)",
                "InvokeError(perdure.exceptions.InvokeError, boom)",
            ],
            [
                "ChildContextError(perdure.exceptions.WaitCancelledError)",
                "WaitCancelledError(perdure.exceptions.WaitCancelledError)",
            ],
            [
                "ChildContextError(perdure.exceptions.CallbackSubmitterError, unsent)",
                "CallbackSubmitterError(perdure.exceptions.CallbackSubmitterError, unsent)",
            ],
            [
                "ChildContextError(failures.SoldOutError, none is left, 17)",
                "SoldOutError(failures.SoldOutError, none is left, 17)",
            ],
            ["WaitCancelledError(Wait.Cancelled)", "DurableOperationError(Wait.Cancelled)"],
            [
                "CallbackSubmitterError(perdure.exceptions.CallbackSubmitterError, unsent)",
                "StepError(perdure.exceptions.StepError, unsent)",
            ],
            ["InvokeError(ValueError, boom)", "DurableOperationError(ValueError, boom)"],
            [
                "InvokeError(ResourceNotFoundException)",
                "DurableOperationError(ResourceNotFoundException)",
            ],
        ],
        [],
    ],
    "fails_in_steps": [
        [
            ["StepError(ValueError, boom)", "DurableOperationError(ValueError, boom)"],
            [
                "StepError(failures.SoldOutError, none is left, 17)",
                "SoldOutError(failures.SoldOutError, none is left, 17)",
            ],
            [
                "StepError(perdure.client_errors.NotFoundError, no such execution)",
                "DurableOperationError(perdure.client_errors.NotFoundError, no such execution)",
            ],
            [
                "StepError(perdure.composition.AnyOfError, [ × 79)",
                "AnyOfError(perdure.composition.AnyOfError)",
                ["ChildContextError(ValueError, one)", "DurableOperationError(ValueError, one)"],
                [
                    "ChildContextError(perdure.exceptions.ChildContextError, two)",
                    "ChildContextError(perdure.exceptions.ChildContextError, two)",
                ],
            ],
            [
                "StepError(perdure.exceptions.StepTimeoutError)",
                "DurableOperationError(perdure.exceptions.StepTimeoutError)",
            ],
            [
                "SerDesError(perdure.exceptions.SerDesError)",
                "DurableOperationError(perdure.exceptions.SerDesError)",
            ],
            [
                "WaitForConditionError(perdure.exceptions.WaitForConditionError)",
                "WaitForConditionError(perdure.exceptions.WaitForConditionError)",
            ],
            [
                "ChildContextError(perdure.exceptions.WaitForConditionError)",
                "WaitForConditionError(perdure.exceptions.WaitForConditionError)",
            ],
        ],
        [],
    ],
    "gathers": [
        "kept",
        [10, 20],
        1,
        "an hour",
        "an hour",
        ["waited", 5],
        '{"told":"gathers/answer"}',
    ],
    "hangs_plainly": ["plain", 1],
    "hears": [
        ["kept", "k × 17,000"],
        [
            "refused",
            [
                "CallbackExternalError(Refusal, d × 33,000)",
                "DurableOperationError(Refusal, d × 33,000)",
            ],
            [
                "ChildContextError(perdure.exceptions.CallbackExternalError, d × 12,286)",
                "CallbackExternalError(perdure.exceptions.CallbackExternalError, d × 12,286)",
            ],
        ],
        [
            "lapsed",
            ["CallbackTimeoutError(Callback.Timeout)", "DurableOperationError(Callback.Timeout)"],
            [
                "ChildContextError(perdure.exceptions.CallbackTimeoutError)",
                "CallbackTimeoutError(perdure.exceptions.CallbackTimeoutError)",
            ],
        ],
        ["granted", '{"told":"hears/granted"}'],
        [
            "denied",
            ["CallbackExternalError(Denial, no)", "DurableOperationError(Denial, no)"],
            [
                "ChildContextError(perdure.exceptions.CallbackExternalError, no)",
                "CallbackExternalError(perdure.exceptions.CallbackExternalError, no)",
            ],
        ],
        [
            "late",
            ["CallbackTimeoutError(Callback.Timeout)", "DurableOperationError(Callback.Timeout)"],
            [
                "ChildContextError(perdure.exceptions.CallbackTimeoutError)",
                "CallbackTimeoutError(perdure.exceptions.CallbackTimeoutError)",
            ],
        ],
        [
            "silent",
            [
                "CallbackTimeoutError(Callback.Heartbeat)",
                "DurableOperationError(Callback.Heartbeat)",
            ],
            [
                "ChildContextError(perdure.exceptions.CallbackTimeoutError)",
                "CallbackTimeoutError(perdure.exceptions.CallbackTimeoutError)",
            ],
        ],
    ],
    "invokes": [8, ["waited", {"of": "invokes"}], ["plain", {"of": "invokes"}], {"of": "invokes"}],
    "invokes_what_fails": [
        ["InvokeError(ChainedInvoke.Timeout)", "DurableOperationError(ChainedInvoke.Timeout)"],
        ["InvokeError(Tired)", "DurableOperationError(Tired)"],
        ["InvokeError(ChainedInvoke.Timeout)", "DurableOperationError(ChainedInvoke.Timeout)"],
    ],
    "is_claimed": "claimed",
    "is_handed_back": ["handed back", "is_handed_back", "never"],
    "is_interrupted": 2,
    "is_interrupted_for_good": [
        "StepError(perdure.exceptions.StepInterruptedError)",
        "DurableOperationError(perdure.exceptions.StepInterruptedError)",
    ],
    "is_overdue": [
        "StepError(perdure.exceptions.StepTimeoutError)",
        "DurableOperationError(perdure.exceptions.StepTimeoutError)",
    ],
    "is_paused": ["waited", {}],
    "is_pausing": [3, 1, True],
    "is_queued": ["queued", "is_queued"],
    "is_resumed": ["waited", "resumed"],
    "is_silent": [
        "StepError(perdure.exceptions.StepHeartbeatTimeoutError)",
        "DurableOperationError(perdure.exceptions.StepHeartbeatTimeoutError)",
    ],
    "is_stopped": ["STOPPED", "Tired"],
    "keeps_much": [[17000, "5d2a5111"], [3000, "97300713"]],
    "maps": [[10, 20], 1, "ALL_COMPLETED"],
    "maps_flat": [10, 20],
    "nests": [1, 6],
    "polls": {"asked": 2},
    "races": ["at once", "an hour"],
    "raises": ["FAILED", "ValueError"],
    "recovers": 2,
    "retries": [2, {"row": 7}],
    "retries_a_block": [2, 20],
    "returns": {"one": 1},
    "takes_all": ["at once", "an hour"],
    "takes_any": "an hour",
    "types": {
        "large": [
            {
                "number": 2,
                "size": "large",
                "tags": ["a", "b"],
                "due": "2026-01-02T03:04:05+00:00",
                "price": "2",
                "inside": {
                    "number": 1,
                    "size": "small",
                    "tags": [],
                    "due": "2026-01-02T03:04:05+00:00",
                    "price": "1.10",
                    "inside": None,
                },
            }
        ],
        "small": [
            {
                "number": 9,
                "size": "small",
                "tags": ["x"],
                "due": "2026-01-02T03:04:05+00:00",
                "price": "9.90",
                "inside": None,
            }
        ],
    },
    "waits": ["waited", "since then"],
    "waits_for_a_tenant": 1,
    "waits_long": ["TIMED_OUT", "Execution.Timeout"],
    "waits_too_long": ["TIMED_OUT", "Execution.Timeout"],
}
