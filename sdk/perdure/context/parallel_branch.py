"""A branch of `parallel` with a name of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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
