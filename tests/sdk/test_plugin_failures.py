"""Plugins that fail or are slow: neither the execution nor the other plugins are affected."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext, DurableFunction
from perdure.config import ParallelConfig
from perdure.plugin import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationStartInfo,
    OperationChangeInfo,
    UserFunctionEndInfo,
    UserFunctionStartInfo,
)
from perdure.plugins.changes import ChangeNotifier
from perdure.worker_api import Errored, InvocationEnvironment, Succeeded, run_invocation
from tests.sdk.hosted import Crash, Hosted
from tests.sdk.recorder import Factory, Raising, Recorder, awaiting, blocking
from tests.sdk.scripted import Scripted, delivery

STOPS = [KeyboardInterrupt, SystemExit, GeneratorExit]


def steps(context: DurableContext) -> int:
    return context.step(lambda _: 1, "one") + context.step(lambda _: 2, "two")


async def async_steps(context: AsyncDurableContext) -> int:
    return await context.step(lambda _: 1, "one") + await context.step(lambda _: 2, "two")


def both(*factories: Any) -> list[DurableFunction]:
    return [blocking(steps, *factories), awaiting(async_steps, *factories)]


def test_whatever_a_plugin_raises_the_next_one_hears_all() -> None:
    for kind in (0, 1):
        recorder = Recorder()
        host = Hosted(both(Factory(Raising), recorder)[kind])
        assert host.finish() == Succeeded("3")
        assert recorder.log[0] == "invocation"
        assert recorder.log[-1] == "SUCCEEDED"
        assert "succeeded two" in recorder.log


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), StopIteration()])
def test_failures_of_one_hook_are_logged_once_an_invocation(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    for function in both(Factory(lambda: Raising(error))):
        caplog.clear()
        assert Hosted(function).finish() == Succeeded("3")
        messages = [record.getMessage() for record in caplog.records]
        assert sum("in its hook for OperationStartInfo" in message for message in messages) == 1
        assert sum("plugin Raising failed" in message for message in messages) == 7


def test_what_is_no_plugin_is_logged_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    for function in both(Factory(lambda: "no plugin"), recorder):
        assert Hosted(function).finish() == Succeeded("3")
    assert recorder.log.count("invocation") == 2
    assert "must return a DurableInstrumentationPlugin, got str" in caplog.text


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("hook", ["on_operation_start", "on_operation_end", "on_user_function_end"])
def test_what_asks_to_stop_ends_the_invocation_which_is_run_again(
    hook: str, stop: type[BaseException]
) -> None:
    for kind in (0, 1):
        plugin = _once(hook, stop())
        recorder = Recorder()
        host = Hosted(both(Always(plugin), recorder)[kind])
        assert host.finish() == Succeeded("3")
        assert isinstance(host.outcomes[0], Errored)
        assert recorder.log.count("RETRY") == 1


@pytest.mark.parametrize("stop", STOPS)
def test_what_asks_to_stop_at_the_start_keeps_later_plugins_out_of_the_invocation(
    stop: type[BaseException],
) -> None:
    for kind in (0, 1):
        plugin = _once("on_invocation_start", stop())
        first, last = Recorder(), Recorder()
        factories = (first, Always(plugin), last)
        host = Hosted(both(*factories)[kind])
        assert host.finish() == Succeeded("3")
        assert isinstance(host.outcomes[0], Errored)
        assert first.log[:3] == ["invocation", "RETRY", "invocation"]
        assert last.log[:2] == ["invocation", "start one"]


@pytest.mark.parametrize("stop", STOPS)
def test_what_asks_to_stop_when_all_is_over_stops_nothing(stop: type[BaseException]) -> None:
    for hook in ("on_invocation_end", "on_operation_change"):
        for kind in (0, 1):
            recorder = Recorder()
            plugin = _once(hook, stop())
            host = Hosted(both(Always(plugin), recorder)[kind])
            assert host.finish() == Succeeded("3")
            assert recorder.log[-1] == "SUCCEEDED"
            assert recorder.changes


def test_a_group_is_parted_into_what_stops_and_what_is_only_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = BaseExceptionGroup("both", [KeyboardInterrupt(), ValueError("only a failure")])
    host = Hosted(blocking(steps, Factory(lambda: _once("on_operation_start", group))))
    assert isinstance(host.run(), Errored)
    assert "only a failure" in caplog.text


def test_a_slow_plugin_hears_of_changes_together() -> None:
    started, go_on = threading.Event(), threading.Event()
    changes: list[OperationChangeInfo] = []

    class Slow(DurableInstrumentationPlugin):
        def on_operation_change(self, info: OperationChangeInfo) -> None:
            changes.append(info)
            started.set()
            assert go_on.wait(60)

    def body(context: DurableContext) -> None:
        context.step(lambda _: 1, "first")
        assert started.wait(60)
        for number in range(5):
            context.step(lambda _: 1, f"step-{number}")
        go_on.set()

    assert Hosted(blocking(body, Factory(Slow))).run() == Succeeded("null")
    first, rest = changes
    assert [info.name for info in first.updated_operations.values()] == ["first"]
    assert [info.name for info in rest.updated_operations.values()] == [
        f"step-{number}" for number in range(5)
    ]
    assert len(rest.operations) == 7


def test_without_a_thread_changes_are_reported_at_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: ChangeNotifier) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ChangeNotifier, "start", refuse)
    for kind in (0, 1):
        recorder = Recorder()
        assert Hosted(both(recorder)[kind]).finish() == Succeeded("3")
        (change,) = recorder.changes
        assert [info.name for info in change.updated_operations.values()] == ["one", "two"]
    assert "Cannot start a thread for plugins" in caplog.text


def test_no_thread_is_started_for_plugins_that_hear_no_changes() -> None:
    running: list[str] = []

    def look(_: object) -> None:
        running.extend(thread.name for thread in threading.enumerate())

    host = Hosted(blocking(lambda c: c.step(look), Factory(DurableInstrumentationPlugin)))
    assert host.run() == Succeeded("null")
    assert "plugin-change" not in running


def test_plugins_hear_that_the_turn_has_passed() -> None:
    for kind in (0, 1):
        recorder = Recorder()
        host = Hosted(both(recorder)[kind], None, [Crash(1, accepted=False)])
        host.deliver()
        assert recorder.log[-1] == "RETRY"
        end = recorder.infos[-1]
        assert isinstance(end, InvocationEndInfo)
        assert end.error is not None
        assert end.error.type == "perdure.delivery.TurnPassed"


def test_an_input_that_is_not_json_is_reported_as_none() -> None:
    recorder = Recorder()
    outcome = run_invocation(
        blocking(steps, recorder), InvocationEnvironment(delivery(payload="{"), Scripted())
    )
    assert type(outcome).__name__ == "Failed"
    start = recorder.infos[0]
    assert isinstance(start, InvocationStartInfo)
    assert start.execution_input is None


VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


class Setting(DurableInstrumentationPlugin):
    """Sets a variable around functions of the user, and resets it where it was set."""

    def __init__(self) -> None:
        self._tokens: dict[str, Any] = {}

    def on_invocation_start(self, info: InvocationStartInfo) -> None:
        self._token = VARIABLE.set("invocation")

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        VARIABLE.reset(self._token)

    def on_user_function_start(self, info: UserFunctionStartInfo) -> None:
        name = info.name or info.operation_id
        self._tokens[info.operation_id] = VARIABLE.set(f"{VARIABLE.get()}/{name}")

    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        VARIABLE.reset(self._tokens[info.operation_id])


def test_functions_see_the_variables_that_hooks_set_around_them() -> None:
    config = ParallelConfig()

    def body(context: DurableContext) -> Any:
        batch = context.parallel([lambda c: c.step(lambda _: VARIABLE.get(), "s")], "p", config)
        return [VARIABLE.get(), *batch.get_results(), context.step(lambda _: VARIABLE.get(), "t")]

    async def same(context: AsyncDurableContext) -> Any:
        async def branch(child: AsyncDurableContext) -> str:
            return await child.step(lambda _: VARIABLE.get(), "s")

        async def look(_: object) -> str:
            return VARIABLE.get()

        batch = await context.parallel([branch], "p", config)
        return [VARIABLE.get(), *batch.get_results(), await context.step(look, "t")]

    seen = '["invocation", "invocation/p/parallel-branch-0/s", "invocation/t"]'
    for function in (blocking(body, Factory(Setting)), awaiting(same, Factory(Setting))):
        assert Hosted(function).run() == Succeeded(seen)
        assert VARIABLE.get() == "unset"


class Always:
    """Makes one and the same plugin."""

    def __init__(self, plugin: DurableInstrumentationPlugin) -> None:
        self._plugin = plugin

    def create_plugin(self, _info: InvocationStartInfo) -> DurableInstrumentationPlugin:
        return self._plugin


def _once(hook: str, error: BaseException) -> DurableInstrumentationPlugin:
    """Return a plugin that raises in one hook, the first time."""
    left = [error]

    def raises(_info: object) -> None:
        if left:
            raise left.pop()

    plugin = DurableInstrumentationPlugin()
    setattr(plugin, hook, raises)
    return plugin
