"""What every kind of function is announced with, and the bounds of it."""

from typing import Any

import msgspec

from perdure.exceptions import ValidationError
from perdure.primitives.duration import Duration
from perdure_core.limits import (
    EXECUTION_TIMEOUT_S_MAX,
    FUNCTION_NAME_CHARS_MAX,
    RETENTION_DAYS_DEFAULT,
    RETENTION_DAYS_MAX,
)
from perdure_core.validation import is_function_name


class FunctionSettings(msgspec.Struct, frozen=True):
    """The name, and what holds for executions that are started without their own.

    `name` (1 to 64 characters of [A-Za-z0-9-_]) is what starts the function. An execution may take
    `execution_timeout_s` seconds in all, and is kept `retention_days` days once it has ended. With
    `tenant_isolation` each belongs to a tenant, which its start has to name. Raises
    `ValidationError` outside the bounds.
    """

    name: str
    execution_timeout_s: int = EXECUTION_TIMEOUT_S_MAX
    retention_days: int = RETENTION_DAYS_DEFAULT
    tenant_isolation: bool = False

    def __post_init__(self) -> None:
        if not is_function_name(self.name):
            raise ValidationError(
                f"A function's name is 1 to {FUNCTION_NAME_CHARS_MAX} characters of [A-Za-z0-9-_]: "
                f"{self.name!r}. Give one with name=…."
            )
        if not 1 <= self.execution_timeout_s <= EXECUTION_TIMEOUT_S_MAX:
            raise ValidationError(
                f"An execution timeout is 1 to {EXECUTION_TIMEOUT_S_MAX:,} s: "
                f"{self.execution_timeout_s:,}."
            )
        if not 1 <= self.retention_days <= RETENTION_DAYS_MAX:
            raise ValidationError(
                f"Retention is 1 to {RETENTION_DAYS_MAX} days: {self.retention_days}."
            )


def settings_of(
    handler: Any,
    *,
    name: str | None,
    execution_timeout: Duration | None,
    retention_days: int | None,
    tenant_isolation: bool,
) -> FunctionSettings:
    """Return what a decorator was told about `handler`, with the defaults for the rest."""
    return FunctionSettings(
        name=name or str(getattr(handler, "__name__", "")),
        execution_timeout_s=(
            EXECUTION_TIMEOUT_S_MAX
            if execution_timeout is None
            else execution_timeout.to_seconds_up()
        ),
        retention_days=RETENTION_DAYS_DEFAULT if retention_days is None else retention_days,
        tenant_isolation=tenant_isolation,
    )
