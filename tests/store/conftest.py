"""Fixtures of every store, for the tests that all of them must pass."""

import asyncio
import inspect
from pathlib import Path

import pytest

from tests.store.scenes import Place


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function on a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind."""
    return _place(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database of each kind."""
    return _place(request.param, request, tmp_path)


@pytest.fixture
def sqlite_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A file that does not exist yet."""
    return _place("sqlite", request, tmp_path)


@pytest.fixture
def postgres_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database of PostgreSQL."""
    return _place("postgresql", request, tmp_path)


def _place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if kind == "memory":
        return Place("memory://")
    if kind == "sqlite":
        return Place(f"sqlite:///{tmp_path}/perdure.db")
    return Place(request.getfixturevalue("postgres").create_database())
