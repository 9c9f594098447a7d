"""Values that are recorded by mistake: what was made and not run, or is no plain data."""

import asyncio
import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType
from typing import Any, Final, cast

from perdure.primitives.bound_function import Bound, original_name
from perdure.serdes.batch_result import BatchResult

# The most values inside a refused one that are looked at.
LOOKED_AT_MAX: Final = 10_000


def mistake_in(value: object, *, batches: bool = True) -> str | None:
    """Return what is wrong with a value, or with one inside it, and what to write; None if unknown.

    A `BatchResult` is one unless `batches` is false: `ExtendedTypeSerDes` records it.
    A coroutine in it is closed, since it will not be awaited.
    """
    waiting = [value]
    for _ in range(LOOKED_AT_MAX):
        if not waiting:
            break
        each = waiting.pop()
        for kind, describe in _MISTAKES.items():
            if isinstance(each, kind) and (batches or kind is not BatchResult):
                return describe(each)
        if isinstance(each, dict):
            waiting.extend(cast("dict[Any, object]", each).values())
        elif isinstance(each, (list, tuple, set, frozenset)):
            waiting.extend(cast("list[object]", each))
    return None


def _coroutine(value: Any) -> str:
    name = value.__qualname__.rpartition(".")[2]
    if inspect.iscoroutine(value):
        value.close()
    return f"it is a coroutine, {name}(…), which was never awaited. Write `await {name}(…)`."


def _future(_: Any) -> str:
    return "it is a task or a future. Await it, and return what it yields."


def _bound(value: Any) -> str:
    name = original_name(value)
    return (
        f"it is what {name}(…) returns, which was never run. Pass it to the context:"
        f" context.step({name}(…))."
    )


def _batch(_: Any) -> str:
    return (
        "a BatchResult is not JSON. Return its get_results(), or annotate the function with"
        " `-> BatchResult[…]`."
    )


_MISTAKES: Final[dict[Any, Callable[[Any], str]]] = {
    (CoroutineType, AsyncGeneratorType): _coroutine,
    asyncio.Future: _future,
    Bound: _bound,
    BatchResult: _batch,
}
