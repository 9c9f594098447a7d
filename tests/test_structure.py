"""The shape of the house: no circles of imports, no crowded folders, thin public modules.

What may import what is said by the contracts in `pyproject.toml`; these are the rules that such
contracts cannot say.
"""

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from perdure import exceptions

ROOT = Path(__file__).parent.parent

PACKAGES = sorted(path.name for path in ROOT.glob("*/perdure*") if path.is_dir())

# A reader takes in a folder at a glance: about this many names.
MODULES_PER_PACKAGE_MAX = 25
MODULES_PER_PACKAGE_OF_USERS_MAX = 20  # SDK, gateway and worker, where most people come in

# What users import. `exceptions` defines what it exports, since histories store its module path.
PUBLIC_MODULES = [
    *("client/__init__", "config", "context/__init__", "execution", "filesystem_serdes", "logger"),
    *("plugin", "preview", "retries", "serdes/__init__", "typed/__init__", "types", "waits"),
    "worker_api",
]


def imports_of_all_modules() -> dict[str, set[str]]:
    """Return who imports whom, imports for type checking and inside functions included."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=False)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle, or nothing where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    imports = imports_of_all_modules()
    assert {module.split(".")[0] for module in imports} == set(PACKAGES)
    assert circle_in(imports) == []


def test_a_circle_is_noticed() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set[str]()}
    assert set(circle_in(imports)) == {"a", "b", "c"}


def test_no_package_has_more_modules_than_a_reader_takes_in() -> None:
    files = [
        file.relative_to(ROOT)
        for package in PACKAGES
        for file in ROOT.glob(f"*/{package}/**/*.py")
        if file.name != "__init__.py" and "_pb2" not in file.name
    ]
    counts = Counter(file.parent for file in files)
    assert counts.keys() >= {Path("sdk/perdure/operations"), Path("core/perdure_core")}
    too_many = {
        str(folder): count
        for folder, count in counts.items()
        if count
        > (
            MODULES_PER_PACKAGE_OF_USERS_MAX
            if folder.parts[0] in {"sdk", "gateway", "worker"}
            else MODULES_PER_PACKAGE_MAX
        )
    }
    assert too_many == {}


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_a_public_module_only_re_exports(module: str) -> None:
    path = ROOT / "sdk" / "perdure" / f"{module}.py"
    docstring, *statements = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    *imports, exports = statements
    assert all(isinstance(statement, ast.ImportFrom) for statement in imports)
    assert isinstance(exports, ast.Assign)
    assert [ast.unparse(target) for target in exports.targets] == ["__all__"]


def test_the_public_exceptions_are_defined_where_they_are_imported_from() -> None:
    defined = {name: getattr(exceptions, name).__module__ for name in exceptions.__all__}
    assert set(defined.values()) == {"perdure.exceptions"}
