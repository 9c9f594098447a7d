"""A branch of `parallel` with a name of its own, and those that the items of a `map` become."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure.primitives.bound_function import with_annotations_of

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class ParallelBranch(Generic[T_co]):
    """A branch with a name of its own."""

    func: Callable[[Any], T_co]
    name: str | None = None

    # Hidden from type checkers: a branch would pass as a function, and lambdas would lose types.
    if not TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Call the function of the branch."""
            return self.func(*args, **kwargs)


def branches_of_map(
    inputs: Sequence[Any],
    func: Callable[..., Any],
    namer: Callable[[Any, int], str | None] | None,
) -> list[ParallelBranch[Any]]:
    """Return a branch for each item, which calls `func(context, item, index, inputs)`."""
    return [
        ParallelBranch(
            _map_item(func, item, index, inputs), None if namer is None else namer(item, index)
        )
        for index, item in enumerate(inputs)
    ]


def _map_item(
    func: Callable[..., Any], item: Any, index: int, inputs: Sequence[Any]
) -> Callable[[Any], Any]:
    return with_annotations_of(func, lambda context: func(context, item, index, inputs))
