"""Packages as people install them: complete, and without the server's libraries.

A file or a folder which the build forgets is noticed by users only, so the wheel is built here as a
release builds it: an sdist first, and the wheel out of that.
"""

import configparser
import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOOLS = PROJECT["tool"]
HEAVY = ("alembic", "psycopg", "pydantic", "sqlalchemy", "starlette", "uvicorn")

TOOL_LEAVINGS = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}


def package_folders() -> list[Path]:
    return sorted(file.parent for file in ROOT.glob("*/perdure*/__init__.py"))


def files_of(package: Path) -> set[str]:
    return {
        file.relative_to(package.parent).as_posix()
        for file in package.rglob("*")
        if file.is_file() and not TOOL_LEAVINGS & set(file.relative_to(ROOT).parts)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_package_folders_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    found = {name.split("/")[0] for name in wheel.namelist()}
    info = f"perdure-{PROJECT['project']['version']}.dist-info"
    assert found == {info, *(folder.name for folder in package_folders())}


def test_the_wheel_holds_every_file_of_every_package(wheel: zipfile.ZipFile) -> None:
    expected = {file for folder in package_folders() for file in files_of(folder)}
    assert expected - set(wheel.namelist()) == set()


def test_every_package_tells_type_checkers_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    expected = {f"{folder.name}/py.typed" for folder in package_folders()}
    assert expected - set(wheel.namelist()) == set()


@pytest.mark.parametrize(
    ("what", "ending"),
    [
        ("perdure_proto/v1/", ".proto"),
        ("perdure_proto/v1/", "_pb2.py"),
        ("perdure_proto/v1/", "_pb2.pyi"),
        ("perdure_proto/v1/", "_pb2_grpc.pyi"),
        ("perdure_host/", "migrations/env.py"),
    ],
)
def test_the_wheel_carries_what_is_read_as_a_file(
    wheel: zipfile.ZipFile, what: str, ending: str
) -> None:
    found = [name for name in wheel.namelist() if name.startswith(what) and name.endswith(ending)]
    assert found != []


def test_the_wheel_carries_the_migrations(wheel: zipfile.ZipFile) -> None:
    found = [name for name in wheel.namelist() if "/migrations/versions/" in name]
    assert [name for name in found if name.endswith(".py")] != []


def test_the_command_is_an_entry_point_that_exists(wheel: zipfile.ZipFile) -> None:
    (listing,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    entries = configparser.ConfigParser()
    entries.read_string(wheel.read(listing).decode())
    assert dict(entries["console_scripts"]) == {"perdure": "perdure_cli.main:main"}
    assert b"\ndef main(" in wheel.read("perdure_cli/main.py")


@pytest.mark.parametrize("module", ["perdure", "perdure_worker", "perdure_cli.main"])
def test_the_light_install_loads_none_of_the_servers_libraries(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_every_tool_knows_every_import_root() -> None:
    folders = package_folders()
    roots = {folder.parent.name for folder in folders}
    packages = {folder.name for folder in folders}
    paths = [path for path in TOOLS["mypy"]["mypy_path"].split(":") if "/tests/" not in path]
    mypy_roots = {path.rsplit("/")[-1] for path in paths}
    assert set(TOOLS["hatch"]["build"]["dev-mode-dirs"]) == roots
    wheel_packages = TOOLS["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(wheel_packages) == {f"{folder.parent.name}/{folder.name}" for folder in folders}
    assert mypy_roots == roots
    assert set(TOOLS["mypy"]["files"]) >= roots
    assert set(TOOLS["pyright"]["include"]) >= roots
    assert set(TOOLS["pyright"]["extraPaths"]) == roots
    assert set(TOOLS["importlinter"]["root_packages"]) == packages
    assert set(TOOLS["ruff"]["lint"]["isort"]["known-first-party"]) == packages


def test_every_dependency_is_explained() -> None:
    project = PROJECT["project"]
    dependencies = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=]", line)[0].lower() for line in dependencies}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    assert {name for name in names if not re.search(rf"\b{name}\b", page)} == set()


def test_the_generated_code_is_that_of_the_contract() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "proto" / "generate.py"), "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_import_contracts_are_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=100, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
