"""How single fields are written: absent ones are left out, times are seconds of the epoch."""


def present(**fields: object) -> dict[str, object]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def seconds(time_ms: int) -> float:
    """Return a time as the API writes it."""
    return time_ms / 1_000


def optional_seconds(time_ms: int | None) -> float | None:
    """Return a time as the API writes it, if there is one."""
    return None if time_ms is None else seconds(time_ms)
