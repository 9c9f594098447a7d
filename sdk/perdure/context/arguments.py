"""Checks of what users pass to the methods of contexts, with words that say what to write."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from perdure.context.parallel_branch import ParallelBranch
from perdure.exceptions import ValidationError
from perdure.invocation.scope import Scope
from perdure.primitives.parameters import check_body, is_body
from perdure.settings.operations import (
    BranchesConfig,
    CallbackConfig,
    ChildConfig,
    InvokeConfig,
    MapConfig,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
    WithRetryConfig,
)
from perdure.settings.wait_strategies import WaitForConditionConfig

C = TypeVar("C")

# Constructed once, since constructing them validates them.
STEP: Final = StepConfig()
CALLBACK: Final = CallbackConfig()
WAIT_FOR_CALLBACK: Final = WaitForCallbackConfig()
INVOKE: Final = InvokeConfig[Any, Any]()
CHILD: Final = ChildConfig[Any]()
WITH_RETRY: Final = WithRetryConfig[Any]()
MAP: Final = MapConfig[Any]()
PARALLEL: Final = ParallelConfig()
BRANCHES: Final = BranchesConfig()

# What operations call their functions with.
_BRANCH: Final = ("context",)
_PASSED: Final = {
    "step": ("step_context",),
    "run_in_child_context": _BRANCH,
    "with_retry": ("context", "attempt"),
    "wait_for_callback": ("callback_id", "callback_context"),
    "wait_for_condition": ("state", "check_context"),
    "map": ("context", "item", "index", "inputs"),
    "parallel": _BRANCH,
    "race": _BRANCH,
    "any_of": _BRANCH,
    "all_of": _BRANCH,
}


def config_of(config: C | None, default: C, call: str) -> C:
    """Return the configuration, or the default; raise `ValidationError` for what cannot be one."""
    kind = type(default)
    if not config:
        return default
    if isinstance(config, kind) or _has_fields_of(config, kind):
        return config
    raise ValidationError(
        f"The config of context.{call}() must be {_a(kind.__name__)}, got"
        f" {type(config).__name__}. Write config={kind.__name__}(…)."
    )


def check_function(scope: Scope, func: Any, call: str) -> None:
    """Raise `ValidationError` for a function that the operation cannot call.

    An operation that is recorded already goes on as it did before.
    """
    passed = _PASSED[call]
    if not is_body(func, len(passed)) and not scope.next_is_recorded():
        check_body(func, f"context.{call}", passed)


def check_condition(scope: Scope, check: Any, config: object) -> None:
    """Raise `ValidationError` for a check or a configuration that `wait_for_condition` cannot use.

    Another class will do if it has the fields, such as that of the AWS SDK.
    """
    check_function(scope, check, "wait_for_condition")
    if not _has_fields_of(config, WaitForConditionConfig):
        raise ValidationError(
            f"The config of context.wait_for_condition() must be a WaitForConditionConfig, got"
            f" {type(config).__name__}. Write WaitForConditionConfig(wait_strategy, initial_state)."
        )


def check_branches(scope: Scope, branches: Sequence[ParallelBranch[Any]], call: str) -> None:
    """Raise `ValidationError` for a branch that cannot be called, as `check_function` does."""
    for branch in branches:
        check_function(scope, branch.func, call)


def check_inputs(inputs: Sequence[Any]) -> None:
    """Raise `ValidationError` for inputs of `map` that are none."""
    if callable(inputs) or not hasattr(inputs, "__iter__"):
        raise ValidationError(
            f"context.map() must be given the items first, got {type(inputs).__name__}."
            " Write context.map(items, function)."
        )


def _has_fields_of(config: object, kind: type) -> bool:
    names: dict[str, Any] = getattr(kind, "__dataclass_fields__", {})
    return all(hasattr(config, name) for name in names)


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"
