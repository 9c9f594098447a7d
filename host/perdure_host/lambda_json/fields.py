"""Formatting of single fields: None is left out, times are seconds since 1970."""


def present(**fields: object) -> dict[str, object]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def seconds(time_ms: int) -> float:
    """Return a time in seconds since 1970."""
    return time_ms / 1_000


def optional_seconds(time_ms: int | None) -> float | None:
    """Return a time in seconds since 1970, or None."""
    return None if time_ms is None else seconds(time_ms)
