"""A logger that records its messages."""

from collections.abc import Mapping


class RecordingLogger:
    """A logger as users write them: it accepts the five levels and `extra`, no more."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.extras: list[Mapping[str, object]] = []

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        self.messages.append(str(msg) % args)
        self.extras.append(dict(extra or {}))

    info = warning = error = exception = debug
