"""The API page: it lists every public name under the module to import it from."""

import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import perdure

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"
# A public module whose names are for workers; the page names the module alone.
FOR_WORKERS = "perdure.worker_api"


def sections() -> dict[str, str]:
    text = PAGE.read_text(encoding="utf-8")
    heads = re.split(r"^## `([\w.]+)`$", text, flags=re.MULTILINE)[1:]
    return dict(zip(heads[::2], heads[1::2], strict=True))


def listed(section: str) -> list[str]:
    rows = re.findall(r"^\| (`.+?) \|", section, flags=re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


@pytest.mark.parametrize("name", [name for name in sections() if name != FOR_WORKERS])
def test_the_page_lists_what_a_module_exports(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    assert sorted(listed(sections()[name])) == sorted(module.__all__)


def test_the_page_has_a_section_for_every_public_module() -> None:
    modules = {f"perdure.{module.name}" for module in pkgutil.iter_modules(perdure.__path__)}
    public = {
        name
        for name in modules
        if "." in name and hasattr(importlib.import_module(name), "__all__")
    }
    assert set(sections()) == {"perdure"} | public
