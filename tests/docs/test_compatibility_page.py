"""The compatibility page: it cannot go stale, since names, signatures and tests on it are real.

Rows below a module's heading are names, and those elsewhere are rules. Names that the page calls
the same or different exist, those it calls absent do not, and every published name is on it.
"""

import ast
import dataclasses
import importlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from tests.sdk.surface import described, parameters

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
PUBLISHED: Final[dict[str, dict[str, Any]]] = json.loads(
    (ROOT / "tests" / "sdk" / "published_surface.json").read_text(encoding="utf-8")
)

PRESENT: Final = ("same", "differs")

_HEADING: Final = re.compile(r"^#+ (?:`perdure\.?(?P<part>\w*)`)?")
_ROW: Final = re.compile(r"^\| (?P<subject>.+?) \| (?P<here>.+?) \| (?P<held>.*?) ?\|$")
_STATE: Final = re.compile(r"(same|differs|not yet|left out)(?:: (.+))?")
_NAME: Final = re.compile(r"`(?P<path>\w+(?:\.\w+)*)(?P<shown>\(.*\)|=.*)?`")
_TEST: Final = re.compile(r"`([^`]+)`")
_SHORT: Final = re.compile(r"^`(\w+)` stands for `([^`]+)`", re.MULTILINE)
_ADDED: Final = re.compile(r"^\| `([\w.]+)` \| ([^|]+) \|$", re.MULTILINE)
_HEADS: Final = ("name", "rule", "---", "word")


@dataclass(frozen=True)
class Row:
    """One line of a table. `part` is the module of a name, and None for a rule."""

    part: str | None
    subject: str
    here: str
    held: str

    @property
    def state(self) -> str:
        """One of four words."""
        found = _STATE.fullmatch(self.here)
        assert found is not None, f"{self.here!r} of {self.subject} is none of the four words"
        assert found[1] == "same" or found[2], f"{self.subject} is {found[1]} without a reason"
        return found[1]

    @property
    def path(self) -> str:
        """The name, without its parameters or its default."""
        found = _NAME.fullmatch(self.subject)
        assert found is not None, f"{self.subject} is no name"
        return found["path"]

    @property
    def signature(self) -> str:
        """The text after the name: parameters, or a default."""
        found = _NAME.fullmatch(self.subject)
        return found["shown"] or "" if found else ""

    @property
    def tests(self) -> list[str]:
        """The tests that prove the row."""
        shorts = dict(cast("list[tuple[str, str]]", _SHORT.findall(TEXT)))
        return [shorts.get(test, test) for test in cast("list[str]", _TEST.findall(self.held))]


def rows() -> Iterator[Row]:
    part: str | None = None
    for line in TEXT.splitlines():
        heading = _HEADING.match(line)
        if heading:
            part = heading["part"]
        cells = _ROW.match(line)
        if cells and not cells["subject"].startswith(_HEADS):
            yield Row(part, cells["subject"], cells["here"], cells["held"])


ROWS: Final = list(rows())
ADDED: Final[list[tuple[str, str]]] = _ADDED.findall(TEXT.partition("## What Perdure adds")[2])
# Public to modules of Perdure, and nothing that programs use.
INSIDE: Final = {
    "Callback.created",
    "DurableContext.perform_with_retry",
    "DurableContext.scope",
} | {
    *("StepContext.control", "PreviewField.covers", "PreviewField.ends_at"),
    *("log_extra", "qualified_name", "Duration.to_seconds_up"),
}
NAMES: Final = [row for row in ROWS if row.part is not None]


def published_names() -> set[str]:
    """Return all that the page must name: names with their modules, members once."""
    found: set[str] = set()
    for part, names in PUBLISHED.items():
        for name, recorded in names.items():
            found.add(f"{part}:{name}")
            ours = thing_of(part, name)
            if ours is not None and isinstance(recorded, dict):
                mine = members(cast("dict[str, Any]", recorded))
                found.update(f"{name}.{member}" for member in mine if not inherited(ours, member))
    return found


def added_names() -> set[str]:
    """Return the public names of a published module that were not published anywhere."""
    published = {name for names in PUBLISHED.values() for name in names}
    found: set[str] = set()
    for part, names in PUBLISHED.items():
        module = importlib.import_module(f"perdure.{part}" if part else "perdure")
        found.update(set(module.__all__) - published)
        for name, recorded in names.items():
            published.update(members_on_page(name, recorded))
            found.update(
                members_on_page(name, described(thing_of(part, name)), thing_of(part, name))
            )
    return found - published - INSIDE - {row.path for row in NAMES}


def members_on_page(name: str, description: Any, ours: Any = None) -> set[str]:
    """Return a class's members as the page names them; of `ours`, but those of other classes."""
    if not isinstance(description, dict) or issubclass(ours or object, BaseException):
        return set()
    recorded = members(cast("dict[str, Any]", description))
    return {f"{name}.{member}" for member in recorded if not inherited(ours, member)}


def members(recorded: dict[str, Any]) -> list[str]:
    if "values" in recorded:
        return list(recorded["values"])
    fields: list[str] = recorded["parameters"] if recorded["frozen"] is not None else []
    names = [field.partition("=")[0] for field in fields if field != "*"]
    return [*names, *recorded["methods"], *recorded["properties"]]


def inherited(ours: Any, member: str) -> bool:
    """Return whether a class inherits a member from another one, which the page names."""
    if not inspect.isclass(ours) or member in vars(ours):
        return False
    above = [base for base in ours.__mro__[1:] if base.__module__.startswith("perdure")]
    return any(member in vars(base) or member in fields_of(base) for base in above)


def fields_of(ours: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(ours)] if is_dataclass(ours) else []


def is_dataclass(ours: Any) -> bool:
    return inspect.isclass(ours) and dataclasses.is_dataclass(ours)


def thing_of(part: str, name: str) -> Any:
    """Return the object of that name in our module, or None."""
    try:
        module = importlib.import_module(f"perdure.{part}" if part else "perdure")
    except ModuleNotFoundError:
        return None
    return getattr(module, name, None)


def exists(part: str, path: str) -> bool:
    name, _, member = path.partition(".")
    ours = thing_of(part, name)
    if ours is None or not member:
        return ours is not None
    return (
        hasattr(ours, member)
        or member in [each.partition("=")[0] for each in parameters(ours)]
        or (inspect.isclass(ours) and f"self.{member} =" in inspect.getsource(ours))
    )


def signature_of(recorded: Any, path: str) -> str:
    """Return the text that follows a name on the page: its parameters, or its default."""
    _, _, member = path.partition(".")
    if not isinstance(recorded, dict):
        return f"({', '.join(recorded)})"
    mine = cast("dict[str, Any]", recorded)
    if not member:
        return f"({', '.join(mine['parameters'])})"
    if member in mine["methods"]:
        return f"({', '.join(mine['methods'][member])})"
    defaults = dict(each.partition("=")[::2] for each in mine["parameters"])
    return f"={defaults[member]}"


def recorded_of(row: Row) -> Any:
    name = row.path.partition(".")[0]
    assert row.part is not None
    found = PUBLISHED.get(row.part, {}).get(name)
    return found if found is not None else PUBLISHED[""].get(name)


@cache
def functions_of(file: str) -> frozenset[str]:
    """Return the names of a file's functions, without importing it; none if it does not exist."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def is_real(test: str) -> bool:
    file, _, name = test.partition("::")
    return name.startswith("test_") and name in functions_of(file)


def shows_what_is_published(row: Row) -> bool:
    """Return whether the row has the published signature or default, and ours if the same."""
    if row.signature != signature_of(recorded_of(row), row.path):
        return False
    ours = thing_of(row.part or "", row.path.partition(".")[0])
    return row.state != "same" or row.signature == signature_of(described(ours), row.path)


def test_every_published_name_is_on_the_page() -> None:
    named = {row.path if "." in row.path else f"{row.part}:{row.path}" for row in NAMES}
    assert published_names() - named == set()


def test_every_name_that_was_added_is_on_the_page_and_held_by_tests() -> None:
    assert {name for name, _ in ADDED} == added_names()
    tests = [test for _, held in ADDED for test in _TEST.findall(held)]
    assert len(tests) >= len(ADDED)
    assert [test for test in tests if not is_real(test)] == []


def test_nothing_is_listed_twice() -> None:
    paths = [row.path if "." in row.path else (row.part, row.path) for row in NAMES]
    assert [name for name, count in Counter(paths).items() if count > 1] == []
    rules = Counter(row.subject for row in ROWS if row.part is None)
    assert len(rules) > 100
    assert [rule for rule, count in rules.items() if count > 1] == []


def test_a_name_is_there_or_absent_as_the_page_says() -> None:
    wrong = [row for row in NAMES if exists(row.part or "", row.path) is not (row.state in PRESENT)]
    assert wrong == []


def test_parameters_and_defaults_on_the_page_are_the_published_ones() -> None:
    rows = [row for row in NAMES if row.signature]
    assert len(rows) > 100
    assert [row for row in rows if not shows_what_is_published(row)] == []


def test_what_is_there_is_held_by_tests_and_what_is_absent_by_none() -> None:
    assert [row for row in ROWS if bool(row.tests) is not (row.state in PRESENT)] == []


def test_every_test_on_the_page_exists() -> None:
    assert [test for row in ROWS for test in row.tests if not is_real(test)] == []


def test_a_reader_that_saw_nothing_would_be_noticed() -> None:
    assert not exists("config", "StepConfig.nonsense")
    assert not exists("nonsense", "StepConfig")
    assert exists("config", "StepConfig.sub_type")
    assert not is_real("tests/docs/test_compatibility_page.py::test_nonsense")
