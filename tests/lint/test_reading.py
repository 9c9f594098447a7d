"""Reading modules: any Python file can be checked, and none is imported."""

import sys
from pathlib import Path

import pytest

from perdure.lint import UnreadableError, UnreadableFileError, check_file, check_source, find_files

HANDLER = "from perdure import durable_execution\n@durable_execution\ndef f(event, c): hash(e)\n"


def test_a_syntax_error_is_reported_with_its_line() -> None:
    with pytest.raises(UnreadableFileError, match=r"^app\.py:2: ") as caught:
        check_source("x = 1\ndef (:\n", "app.py")
    assert caught.value.line == 2


@pytest.mark.parametrize(
    "source", [b"\xff\xfe\x00", b"# coding: nonsense\n", b"x = '\xe9'\n", "\0"]
)
def test_what_is_no_python_is_refused(source: str | bytes) -> None:
    with pytest.raises(UnreadableFileError, match=r"^app\.py"):
        check_source(source, "app.py")


@pytest.mark.parametrize(
    "source",
    [
        HANDLER.encode("utf-8-sig"),
        HANDLER.replace("\n", "\r\n").encode(),
        b"# coding: latin-1\n# \xe9\n" + HANDLER.encode(),
        ("x = '\\d'\n" + HANDLER).encode(),
    ],
)
def test_encodings_and_line_ends_make_no_difference(source: bytes) -> None:
    assert [each.rule.value for each in check_source(source, "app.py")] == ["PRD102"]


def test_code_that_is_nested_too_deeply_is_refused() -> None:
    deep = HANDLER.replace("hash(e)", "+".join(["e"] * 20_000))
    with pytest.raises(UnreadableFileError):
        check_source(deep, "app.py")


def test_a_long_chain_of_calls_is_followed_to_its_end() -> None:
    links = "".join(f"def f{n}():\n    f{n + 1}()\n" for n in range(3_000))
    source = HANDLER.replace("hash(e)", "f0()") + links + "def f3000(): hash(1)\n"
    (finding,) = check_source(source, "app.py")
    assert len(finding.chain) == 3_002


def test_a_thousand_assignments_to_one_another_are_followed_in_no_time() -> None:
    lines = "".join(f"    a = b or c\n    b = a or c\n    c = f{n}(a, b)\n" for n in range(300))
    test = "    if a:\n        context.wait(1)\n    for each in a:\n        each.b.c()\n"
    source = "from perdure import durable_execution\n@durable_execution\ndef f(event, context):\n"
    assert check_source(source + lines + test, "app.py") == []


def test_a_missing_file_is_reported() -> None:
    with pytest.raises(UnreadableFileError, match="No such file"):
        check_file(Path("/nowhere/app.py"))


def test_folders_and_modules_are_found_without_running_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "shop" / "orders"
    package.mkdir(parents=True)
    (tmp_path / "shop" / "__pycache__").mkdir()
    bomb = "raise SystemExit('it was run')\n"
    for file in ("__init__.py", "orders/__init__.py", "orders/flow.py", "__pycache__/old.py"):
        (tmp_path / "shop" / file).write_text(bomb)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    flow = package / "flow.py"
    assert find_files("shop.orders.flow") == [flow]
    assert find_files("shop.orders") == [package / "__init__.py", flow]
    assert find_files(str(tmp_path / "shop")) == [
        tmp_path / "shop" / "__init__.py",
        package / "__init__.py",
        flow,
    ]
    assert find_files(str(flow)) == [flow]


@pytest.mark.parametrize("target", ["no.such.module", "no/such/file.py", "a..b"])
def test_what_does_not_exist_is_reported(target: str) -> None:
    with pytest.raises(UnreadableError, match="no such file, folder or module"):
        find_files(target)
