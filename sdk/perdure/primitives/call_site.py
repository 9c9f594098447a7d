"""Where user code makes a call, and whether it uses what the call returns, for error messages."""

import dis
import sys
from types import CodeType, FrameType
from typing import Final, NamedTuple

_INTERNAL_PACKAGES: Final = frozenset(
    {"perdure", "perdure_worker", "perdure_core", "perdure_host", "perdure_cli"}
)


def user_line(frame: FrameType | None) -> str | None:
    """Return file:line of the innermost frame outside Perdure and the standard library.

    None where there is none: a task or a thread starts without the frames of its creator.
    """
    while frame is not None:
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if top not in _INTERNAL_PACKAGES and top not in sys.stdlib_module_names:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None


class Call(NamedTuple):
    """A call of user code: the function of Perdure that it calls, and where it does."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function}() at {self.file}:{self.line}"


def call_of_user(frame: FrameType | None) -> Call:
    """Return the call by which user code came to `frame`, which is one of Perdure."""
    assert frame is not None, "CPython has frames"
    caller = frame.f_back
    while caller is not None and str(caller.f_globals.get("__name__")).startswith("perdure."):
        frame, caller = caller, caller.f_back
    if caller is None:
        return Call(frame.f_code.co_name, "?", 0)
    return Call(frame.f_code.co_name, caller.f_code.co_filename, caller.f_lineno)


# By the id of a code object, which is kept so that no other one gets it, and the instruction.
_dropped: Final[dict[tuple[int, int], tuple[CodeType, bool]]] = {}
# More places than programs have; those made by `exec` without end would fill the memory.
_PLACES_MAX: Final = 10_000


def drops_value(frame: FrameType) -> bool:
    """Return whether nothing ever reads what the call that `frame` makes now returns.

    That is an expression on a line of its own, or a local variable that the function never reads.
    """
    place = (id(frame.f_code), frame.f_lasti)
    known = _dropped.get(place)
    if known is None:
        if len(_dropped) >= _PLACES_MAX:
            _dropped.clear()
        known = _dropped[place] = (frame.f_code, _drops(frame.f_code, frame.f_lasti))
    return known[1]


def _drops(code: CodeType, lasti: int) -> bool:
    instructions = [each for each in dis.get_instructions(code) if each.opname != "EXTENDED_ARG"]
    after = next((each for each in instructions if each.offset > lasti), None)
    if after is None:
        return False
    if after.opname == "POP_TOP":
        return True
    if after.opname != "STORE_FAST":
        return False
    return not any(_reads(each, after.argval) for each in instructions)


def _reads(instruction: dis.Instruction, variable: str) -> bool:
    argument: object = instruction.argval
    read = variable in argument if isinstance(argument, tuple) else variable == argument
    return read and "LOAD" in instruction.opname
