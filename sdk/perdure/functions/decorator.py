"""Makes a function of a handler and its settings: the common part of the decorators."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from perdure.exceptions import ValidationError
from perdure.primitives.parameters import is_body, name_of
from perdure.settings.functions import FunctionSettings, settings_of

H = TypeVar("H", bound=Callable[..., Any])
F = TypeVar("F")


def decorate(
    make: Callable[[H, FunctionSettings], F], handler: H | None, **settings: Any
) -> F | Callable[[H], F]:
    """Return `make(handler, settings)`, or the decorator that does so when `handler` is None.

    The keywords are those of `settings_of`; raises `ValidationError` outside their bounds.
    """

    def decorated(decorated_handler: H) -> F:
        _check_handler(decorated_handler)
        return make(decorated_handler, settings_of(decorated_handler, **settings))

    return decorated if handler is None else decorated(handler)


def _check_handler(handler: Callable[..., Any]) -> None:
    """Raise `ValidationError` for a handler that cannot be called with an event and a context."""
    if is_body(handler, 2):
        return
    if not callable(handler):
        raise ValidationError(
            f"A handler must be a function, got {type(handler).__name__}. Write"
            " @durable_execution above `def`, with settings as keywords."
        )
    code = getattr(handler, "__code__", None)
    place = "" if code is None else f", at {code.co_filename}:{code.co_firstlineno},"
    raise ValidationError(
        f"The handler {name_of(handler)!r}{place} takes {inspect.signature(handler)}. A handler is"
        f" called with an event and a context: write def {name_of(handler)}(event, context)."
    )
