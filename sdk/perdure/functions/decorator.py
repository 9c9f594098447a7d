"""Makes a function of a handler and its settings: the common part of the decorators."""

from collections.abc import Callable
from typing import Any, TypeVar

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
        return make(decorated_handler, settings_of(decorated_handler, **settings))

    return decorated if handler is None else decorated(handler)
