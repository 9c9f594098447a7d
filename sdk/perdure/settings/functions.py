"""Settings of a function: its name, timeout, retention and tenant isolation."""

from typing import Any

import msgspec

from perdure.exceptions import ValidationError
from perdure.primitives.duration import Duration, duration_of, in_words
from perdure_core.limits import (
    EXECUTION_TIMEOUT_S_MAX,
    FUNCTION_NAME_CHARS_MAX,
    RETENTION_DAYS_DEFAULT,
    RETENTION_DAYS_MAX,
)
from perdure_core.validation import is_function_name


class FunctionSettings(msgspec.Struct, frozen=True):
    """The function's name, and the defaults of executions that are started without their own.

    Clients start the function by `name` (1 to 64 characters of [A-Za-z0-9-_]). An execution may
    take `execution_timeout_s` seconds in all, and is kept for `retention_days` days after its end.
    With `tenant_isolation` each belongs to a tenant, which its start must name. Raises
    `ValidationError` outside the bounds.
    """

    name: str
    execution_timeout_s: int = EXECUTION_TIMEOUT_S_MAX
    retention_days: int = RETENTION_DAYS_DEFAULT
    tenant_isolation: bool = False

    def __post_init__(self) -> None:
        if not is_function_name(self.name):
            raise ValidationError(
                f"name must be 1 to {FUNCTION_NAME_CHARS_MAX} characters of [A-Za-z0-9-_],"
                f" got {self.name!r}. Set it with name=…."
            )
        if not 1 <= self.execution_timeout_s <= EXECUTION_TIMEOUT_S_MAX:
            longest = in_words(EXECUTION_TIMEOUT_S_MAX * 1_000)
            raise ValidationError(
                f"execution_timeout must be 1 second to {longest},"
                f" got {in_words(self.execution_timeout_s * 1_000)}."
            )
        if not 1 <= self.retention_days <= RETENTION_DAYS_MAX:
            raise ValidationError(
                f"retention_days must be 1 to {RETENTION_DAYS_MAX}, got {self.retention_days}."
            )


def settings_of(
    handler: Any,
    *,
    name: str | None,
    execution_timeout: Duration | None,
    retention_days: int | None,
    tenant_isolation: bool,
) -> FunctionSettings:
    """Return the settings passed to a decorator of `handler`, with defaults for the others."""
    return FunctionSettings(
        name=name or str(getattr(handler, "__name__", "")),
        execution_timeout_s=(
            EXECUTION_TIMEOUT_S_MAX
            if execution_timeout is None
            else duration_of(execution_timeout, "execution_timeout").to_seconds_up()
        ),
        retention_days=RETENTION_DAYS_DEFAULT if retention_days is None else retention_days,
        tenant_isolation=tenant_isolation,
    )
