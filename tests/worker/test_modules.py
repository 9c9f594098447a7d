"""Finding functions in modules: which are served, and the errors when there are none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure_worker.modules import ModuleLoadError, load_functions

ORDERS = """
from perdure import durable_execution

@durable_execution
def order(event, context):
    return event

@durable_execution(name="refund-order")
def refund(event, context):
    return event

alias = order
"""


@pytest.fixture(autouse=True)
def clean_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo imports after the test, and import from a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names(*modules: str) -> list[str]:
    return [function.settings.name for function in load_functions(modules)]


def test_a_file_is_served_under_the_names_of_its_functions(tmp_path: Path) -> None:
    path = write(tmp_path / "some where" / "perdure_orders.py", ORDERS)
    assert names(str(path)) == ["order", "refund-order"]


def test_plain_functions_are_served_beside_durable_ones(tmp_path: Path) -> None:
    text = ORDERS.replace("durable_execution(name", "plain_function(name").replace(
        "import durable_execution", "import durable_execution, plain_function"
    )
    found = load_functions([str(write(tmp_path / "perdure_orders.py", text))])
    assert {each.settings.name: each.durable for each in found} == {
        "order": True,
        "refund-order": False,
    }


def test_a_module_is_found_in_the_current_directory(tmp_path: Path) -> None:
    write(tmp_path / "perdure_shop" / "orders.py", ORDERS)
    assert names("perdure_shop.orders") == ["order", "refund-order"]


def test_a_file_imports_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "shop" / "perdure_orders.py", ORDERS)
    path = write(tmp_path / "shop" / "perdure_served.py", "from perdure_orders import order\n")
    assert names(str(path)) == ["order"]


def test_a_function_that_is_found_twice_is_served_once(tmp_path: Path) -> None:
    first = write(tmp_path / "perdure_orders.py", ORDERS)
    second = write(tmp_path / "perdure_served.py", "from perdure_orders import order\n")
    assert names(str(first), str(second), "perdure_orders") == ["order", "refund-order"]


def test_two_functions_cannot_share_a_name(tmp_path: Path) -> None:
    first = write(tmp_path / "perdure_first.py", ORDERS)
    second = write(tmp_path / "perdure_second.py", ORDERS)
    with pytest.raises(ModuleLoadError, match=r"'order' comes from .*perdure_first\.py already"):
        load_functions([str(first), str(second)])


def test_a_module_without_functions_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "perdure_nothing.py", "x = 1\n")
    with pytest.raises(ModuleLoadError, match=r"perdure_nothing\.py: no function in it"):
        load_functions([str(path)])


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ModuleLoadError, match=r"nowhere\.py: no such file"):
        load_functions(["nowhere.py"])


def test_a_missing_module_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ModuleLoadError, match=f"no module named 'perdure_nowhere'.*{tmp_path}"):
        load_functions(["perdure_nowhere.orders"])


def test_a_missing_import_inside_a_module_is_reported_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "perdure_broken.py", "x = 1\nimport perdure_absent\n")
    with pytest.raises(ModuleLoadError) as refused:
        load_functions([str(path)])
    assert "ModuleNotFoundError: No module named 'perdure_absent'" in str(refused.value)
    assert "perdure_broken.py, line 2" in str(refused.value)


def test_an_exception_is_reported_with_its_type_message_and_line(tmp_path: Path) -> None:
    write(tmp_path / "perdure_broken.py", "\n\nraise ValueError('no stock')\n")
    with pytest.raises(ModuleLoadError) as refused:
        load_functions(["perdure_broken"])
    assert "ValueError: no stock" in str(refused.value)
    assert "perdure_broken.py, line 3" in str(refused.value)


def test_a_syntax_error_is_reported_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "perdure_broken.py", "x = 1\ndef f(:\n")
    with pytest.raises(ModuleLoadError, match=r"SyntaxError: .*perdure_broken\.py, line 2"):
        load_functions([str(path)])


def test_a_module_that_exits_does_not_take_the_worker_along(tmp_path: Path) -> None:
    path = write(tmp_path / "perdure_exits.py", "raise SystemExit(3)\n")
    with pytest.raises(ModuleLoadError, match="exits when imported, with 3"):
        load_functions([str(path)])


def test_a_file_does_not_replace_a_module_that_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path / "json.py", ORDERS)
    with pytest.raises(ModuleLoadError, match=r"'json' belongs to .* already; rename the file"):
        load_functions([str(path)])
