"""Loading of plugins: those passed to a function, and those that the environment names."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import DurableContext, PluginLoadError, durable_execution
from perdure.plugin import DurableInstrumentationPlugin, InvocationStartInfo
from perdure.plugins.loading import GROUP, VARIABLE, load_plugins
from perdure.worker_api import Succeeded
from tests.sdk.hosted import Hosted
from tests.sdk.recorder import Recorder


class Factory:
    """A plugin factory that records its registrations."""

    __durable_registration_api__ = 1
    exclusive_group: Any = None

    def __init__(self) -> None:
        self.registrations: list[bool] = []

    def create_plugin(self, _info: InvocationStartInfo) -> DurableInstrumentationPlugin:
        return DurableInstrumentationPlugin()

    def on_registration_result(self, registered: bool) -> None:
        self.registrations.append(registered)


class Tracing(Factory):
    __durable_registration_api__ = 1
    exclusive_group = "tracing"


class OtherTracing(Factory):
    __durable_registration_api__ = 1
    exclusive_group = "tracing"


class Quiet:
    """One that has not opted in: its attributes mean nothing."""

    exclusive_group = "tracing"

    def create_plugin(self, _info: InvocationStartInfo) -> DurableInstrumentationPlugin:
        return DurableInstrumentationPlugin()

    def on_registration_result(self, _registered: bool) -> None:
        raise AssertionError("not asked for")


class Unmarked(Factory):
    exclusive_group = "tracing"


class OfTheClass:
    @classmethod
    def create_plugin(cls, _info: InvocationStartInfo) -> DurableInstrumentationPlugin:
        return DurableInstrumentationPlugin()


class NoCall:
    create_plugin = "text"


class NoArgument:
    def create_plugin(self) -> DurableInstrumentationPlugin:
        return DurableInstrumentationPlugin()


def handle(_event: Any, context: DurableContext) -> int:
    return context.step(lambda _: 1, "one")


def test_given_factories_serve_in_their_order() -> None:
    first, second = Factory(), Quiet()
    function = durable_execution(plugins=[first, second, OfTheClass])(handle)
    assert function.plugins == (first, second, OfTheClass)
    assert first.registrations == [True]


def test_a_function_without_plugins_has_none() -> None:
    assert durable_execution(handle).plugins == ()


def test_what_finds_installed_plugins_is_not_loaded_before_one_is_named() -> None:
    code = (
        "import os, sys, perdure\n"
        f"os.environ.pop({VARIABLE!r}, None)\n"
        "perdure.durable_execution(name='one')(lambda event, context: 1)\n"
        "print('importlib.metadata' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout == "False\n", found.stderr


@pytest.mark.parametrize(
    ("wrong", "described"),
    [
        (
            DurableInstrumentationPlugin(),
            "an instance of perdure.plugins.hooks.DurableInstrumentationP",
        ),
        (
            DurableInstrumentationPlugin,
            "the class perdure.plugins.hooks.DurableInstrumentationPlugin",
        ),
        (Factory, "the class tests.sdk.test_plugin_loading.Factory"),
        (handle, "the function tests.sdk.test_plugin_loading.handle"),
        (NoCall(), "an instance of tests.sdk.test_plugin_loading.NoCall"),
        (NoArgument(), "an instance of tests.sdk.test_plugin_loading.NoArgument"),
        (None, "an instance of builtins.NoneType"),
    ],
)
def test_what_is_no_factory_is_refused_with_its_place(wrong: Any, described: str) -> None:
    good = Factory()
    with pytest.raises(
        PluginLoadError, match=r"^plugins\[1\] must be .*create_plugin\(info\)"
    ) as refused:
        durable_execution(plugins=[good, wrong])(handle)
    assert described in str(refused.value)
    assert good.registrations == [False]


@pytest.mark.parametrize("pair", [(Tracing(), OtherTracing()), (Tracing(), Tracing())])
def test_two_of_an_exclusive_group_are_refused(pair: tuple[Factory, Factory]) -> None:
    with pytest.raises(PluginLoadError, match="have the same exclusive group 'tracing'"):
        load_plugins(pair, {})
    assert [factory.registrations for factory in pair] == [[False], [False]]


def test_a_group_counts_only_for_classes_that_opted_in() -> None:
    assert len(load_plugins([Tracing(), Quiet(), Quiet(), Unmarked(), Unmarked()], {})) == 5


@pytest.mark.parametrize("group", ["", " ", 7])
def test_a_group_without_a_name_is_refused(group: Any) -> None:
    kind = type(
        "Nameless", (Factory,), {"__durable_registration_api__": 1, "exclusive_group": group}
    )
    with pytest.raises(PluginLoadError, match=r"Nameless\.exclusive_group must be a text"):
        load_plugins([kind()], {})


class Inheriting(Factory):
    """A factory that defines the attribute itself."""

    def on_registration_result(self, registered: bool) -> None:
        raise AssertionError(registered)


@pytest.mark.parametrize("version", [None, 2, True, 1.0])
def test_a_class_that_repeats_the_marker_with_another_version_opts_out(version: Any) -> None:
    kind = type("Out", (Tracing,), {"__durable_registration_api__": version})
    factories = [kind(), kind(), Tracing()]
    assert load_plugins(factories, {}) == tuple(factories)
    assert [factory.registrations for factory in factories] == [[], [], [True]]


def test_only_a_class_that_opted_in_is_notified() -> None:
    inheriting = Inheriting()
    load_plugins([inheriting], {})
    assert inheriting.registrations == [True]


def test_a_factory_that_fails_when_it_is_notified_is_still_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Factory):
        __durable_registration_api__ = 1

        def on_registration_result(self, registered: bool) -> None:
            raise ValueError("not now")

    assert len(load_plugins([Failing()], {})) == 1
    assert "not now" in caplog.text


# A package as it is installed: modules and metadata in a folder of `sys.path`.


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that installs a package with entry points."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)

    def put(package: str, entry_points: str, code: str = "", group: str = GROUP) -> None:
        metadata = tmp_path / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{entry_points}\n")
        (tmp_path / f"{package}.py").write_text(code)
        importlib.invalidate_caches()

    yield put
    for name in set(sys.modules) - before:
        del sys.modules[name]


RECORDING = "from tests.sdk.recorder import Recorder\nfactory = Recorder()\nclass K: ...\n"


def test_plugins_of_installed_packages_come_after_given_ones(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("recording", "one = recording:factory\ntwo = recording_two:factory", RECORDING)
    install("recording_two", "", RECORDING)
    monkeypatch.setenv(VARIABLE, " two, one ")
    factory = Recorder()
    function = durable_execution(name="under-test", plugins=[factory])(handle)
    one = importlib.import_module("recording").factory
    two = importlib.import_module("recording_two").factory
    assert function.plugins == (factory, two, one)
    assert Hosted(function).run() == Succeeded("1")
    assert one.log == two.log == factory.log != []


def test_the_same_factory_twice_serves_once(install: Any, caplog: pytest.LogCaptureFixture) -> None:
    install("recording", "one = recording:factory", RECORDING)
    factory = importlib.import_module("recording").factory
    assert load_plugins([factory], {VARIABLE: "one"}) == (factory,)
    assert "'one'" in caplog.text


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_names_nothing(text: str) -> None:
    assert load_plugins([], {VARIABLE: text}) == ()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("one,,one", "must be names separated by commas, got 'one,,one'"),
        ("one, one", "names 'one' more than once"),
        ("nothing", "No installed package .* 'nothing' .* 'perdure.plugins'. Available: both, "),
        ("both", "2 installed packages .*: other, recording. Uninstall all but one"),
        ("broken", r"from 'absent:factory' \(recording\): ModuleNotFoundError"),
        ("kind", "entry point 'kind' must be .* got the class recording.K"),
        (
            "foreign",
            "No installed package .* in 'perdure.plugins'.* foreign provides it for the AWS SDK",
        ),
    ],
)
def test_a_name_that_is_no_plugin_is_refused(install: Any, names: str, message: str) -> None:
    points = "one = recording:factory\nboth = recording:factory\n"
    install("recording", f"{points}broken = absent:factory\nkind = recording:K", RECORDING)
    install("other", "both = other:factory", RECORDING)
    install("foreign", "foreign = foreign:factory", group="aws_durable_execution.plugins")
    factory = Factory()
    with pytest.raises(PluginLoadError, match=message):
        load_plugins([factory], {VARIABLE: names})
    assert factory.registrations == [False]
