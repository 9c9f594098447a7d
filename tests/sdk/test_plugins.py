"""Calls of plugin hooks: the same for blocking and for async handlers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext, DurableFunction
from perdure.config import ChildConfig, CompletionConfig, Duration, ParallelConfig, StepConfig
from perdure.plugin import InvocationEndInfo, InvocationStartInfo, OperationEndInfo
from perdure.plugins.changes import THREAD_NAME
from perdure.retries import RetryPresets
from perdure.worker_api import Succeeded
from perdure_core.model import OPERATION_OPEN, OperationStatus, OperationType
from perdure_core.state import is_open
from tests.conformance.blocking import as_blocking
from tests.sdk import watched_programs as programs
from tests.sdk.hosted import Crash, Hosted
from tests.sdk.recorder import Factory, Infos, Raising, Recorder, awaiting, blocking

# A flaky step, a wait over two invocations, another step: `programs.busy`.
BUSY = [
    "invocation",
    *("start flaky", "call flaky #1", "failed call flaky", "PENDING"),
    "invocation",
    *("again flaky", "call flaky #2", "succeeded call flaky", "succeeded flaky"),
    *("start nap", "PENDING"),
    "invocation",
    *("succeeded nap", "start end", "call end #1", "succeeded call end", "succeeded end"),
    "SUCCEEDED",
]


def functions(name: str, *factories: Any) -> list[DurableFunction]:
    """Return a program as a handler of each kind."""
    program = programs.PROGRAMS[name]
    return [blocking(as_blocking(program), *factories), awaiting(program, *factories)]


def finished(function: DurableFunction, *crashes: Crash, answers: bool = True) -> Hosted:
    """Run to the end, with the callbacks and invokes completed."""
    host = Hosted(function, None, crashes, ["other"])
    host.run()
    while is_open(host.state):
        if host.state.callbacks_open and answers:
            host.succeed_callback("answer")
        elif host.state.children_open:
            host.end_invoke("SUCCEEDED", '"answer"')
        else:
            host.pass_time()
        host.run()
    return host


def runs_of(name: str, *crashes: Crash) -> list[tuple[Hosted, Recorder]]:
    """Run a program as a handler of each kind, and record the calls of its plugins."""
    runs: list[tuple[Hosted, Recorder]] = []
    for kind in (0, 1):
        recorder = Recorder()
        function = functions(name, recorder)[kind]
        runs.append((finished(function, *crashes, answers=name == "callback"), recorder))
    return runs


def invocations(recorder: Recorder) -> list[list[str]]:
    """Return the log, invocation by invocation."""
    found: list[list[str]] = []
    for line in recorder.log:
        if line == "invocation":
            found.append([])
        found[-1].append(line)
    return found


def infos_by_invocation(recorder: Recorder) -> list[list[Infos]]:
    """Return the arguments of hooks, invocation by invocation."""
    found: list[list[Infos]] = []
    for info in recorder.infos:
        if isinstance(info, InvocationStartInfo):
            found.append([])
        found[-1].append(info)
    return found


def ends(infos: Sequence[Infos]) -> Counter[str]:
    """Return how often the end of each operation was reported, without bodies that ran again."""
    return Counter(
        info.operation_id
        for info in infos
        if isinstance(info, OperationEndInfo) and not info.is_replayed
    )


def recorded_ends(host: Hosted) -> set[str]:
    """Return the operations that have ended."""
    return {
        id_
        for id_, operation in host.state.operations.items()
        if operation.status not in OPERATION_OPEN
    }


def test_a_whole_execution_is_reported_in_order() -> None:
    for _, recorder in runs_of("busy"):
        assert recorder.log == BUSY


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_both_kinds_of_handlers_tell_the_same(name: str) -> None:
    (_, ours), (_, theirs) = runs_of(name)
    assert Counter(ours.log) == Counter(theirs.log)


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_every_end_is_reported_once_over_all_invocations(name: str) -> None:
    for host, recorder in runs_of(name):
        counts = ends(recorder.infos)
        assert recorded_ends(host) - counts.keys() == set()
        assert {id_ for id_ in recorded_ends(host) if counts[id_] != 1} == set()


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_plugins_change_nothing_that_is_recorded(name: str) -> None:
    watched = functions(name, Recorder(), Factory(Raising), Factory(lambda: None))
    for function, plain in zip(watched, functions(name), strict=True):
        with_plugins = finished(function, answers=name == "callback")
        without = finished(plain, answers=name == "callback")
        assert with_plugins.outcomes == without.outcomes
        assert sorted(with_plugins.updates) == sorted(without.updates)
        assert with_plugins.ends == without.ends


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("name", ["busy", "nested", "virtual", "large child", "nested batch"])
def test_after_a_crash_at_any_checkpoint_hooks_still_pair_up(name: str, accepted: bool) -> None:
    calls = len(runs_of(name)[0][0].calls)
    for number in range(1, calls + 1):
        for host, recorder in runs_of(name, Crash(number, accepted)):
            assert isinstance(host.outcomes[-1], Succeeded)
            for lines in invocations(recorder):
                assert lines[-1] in {"SUCCEEDED", "PENDING", "RETRY"}
                assert balance(lines) == Counter()
            assert {
                count for each in infos_by_invocation(recorder) for count in ends(each).values()
            } <= {1}
            assert recorder.log.count("RETRY") == 1


def balance(lines: Sequence[str]) -> Counter[str]:
    """Return functions that were called and did not end, or ended and were not called."""
    counts: Counter[str] = Counter()
    for line in lines:
        if line.startswith("call "):
            counts[line.removeprefix("call ").split(" ")[0]] += 1
        elif " call " in line:
            counts[line.split(" call ")[1]] -= 1
    return Counter({name: count for name, count in counts.items() if count})


def test_ends_recorded_when_the_worker_was_lost_are_not_reported_later() -> None:
    for _, recorder in runs_of("busy", Crash(2, accepted=True)):
        # The step had succeeded, and nobody was there to hear of it: the record alone tells.
        assert recorder.log[5:9] == [
            "invocation",
            "again flaky",
            "call flaky #2",
            "succeeded call flaky",
        ]


def test_an_open_operation_is_met_again_once_in_each_invocation() -> None:
    def body(context: DurableContext) -> Any:
        callback = context.create_callback("answer")
        context.wait(Duration(1), "nap")
        return callback.result()

    recorder = Recorder()
    host = Hosted(blocking(body, recorder))
    host.run()
    host.pass_time()
    host.run()
    host.succeed_callback('"yes"')
    host.run()
    assert invocations(recorder) == [
        ["invocation", "start answer", "start nap", "PENDING"],
        ["invocation", "again answer", "succeeded nap", "PENDING"],
        ["invocation", "succeeded answer", "SUCCEEDED"],
    ]
    assert recorder.of("succeeded answer").result == '"yes"'


def test_a_callback_that_is_not_read_ends_before_the_context_around_it() -> None:
    def body(context: DurableContext) -> Any:
        def inner(child: DurableContext) -> None:
            child.create_callback("unread")
            child.wait(Duration(1), "nap")

        context.run_in_child_context(inner, "outer")

    recorder = Recorder()
    host = Hosted(blocking(body, recorder))
    host.run()
    host.succeed_callback("yes")
    host.pass_time()
    host.run()
    assert invocations(recorder)[1] == [
        *("invocation", "again outer", "call outer", "succeeded unread", "succeeded nap"),
        *("succeeded call outer", "succeeded outer", "SUCCEEDED"),
    ]


def test_ends_that_are_not_awaited_are_reported_before_the_invocation_ends() -> None:
    def body(context: DurableContext) -> Any:
        context.wait(Duration(1), "first")
        context.create_callback("other")
        context.wait(Duration(1), "second")
        host.succeed_callback("yes")
        context.step(lambda _: None, "last")

    recorder = Recorder()
    host = Hosted(blocking(body, recorder))
    host.finish()
    assert invocations(recorder)[-1] == [
        *("invocation", "again other", "succeeded second", "start last", "call last #1"),
        *("succeeded call last", "succeeded last", "succeeded other", "SUCCEEDED"),
    ]


def test_a_virtual_context_is_reported_whenever_its_body_has_run() -> None:
    for _, recorder in runs_of("virtual"):
        calls = [line for line in recorder.log if line.endswith("virtual")]
        assert calls == [
            *("call virtual", "incomplete call virtual") * 2,
            *("call virtual", "succeeded call virtual", "succeeded virtual"),
        ]


def test_a_virtual_context_that_fails_is_reported_with_its_error() -> None:
    def body(context: DurableContext) -> Any:
        def inner(_: DurableContext) -> None:
            raise ValueError("no")

        context.run_in_child_context(inner, "virtual", ChildConfig(is_virtual=True))

    recorder = Recorder()
    Hosted(blocking(body, recorder)).run()
    assert recorder.log[1:] == ["call virtual", "failed call virtual", "failed virtual", "FAILED"]
    assert recorder.of("failed virtual").error.type == "ValueError"


def test_a_result_rebuilt_from_its_children_is_reported_as_such() -> None:
    for _, recorder in runs_of("large child"):
        again = [line for line in recorder.log if "large" in line][-3:]
        assert again == [
            "call large over its children",
            "succeeded call large",
            "succeeded again large",
        ]


def test_branches_that_wait_leave_their_functions_incomplete() -> None:
    def body(context: DurableContext) -> Any:
        def branch(child: DurableContext) -> None:
            child.wait(Duration(1), "nap")

        context.parallel([branch, branch], "both")

    async def same(context: AsyncDurableContext) -> Any:
        async def branch(child: AsyncDurableContext) -> None:
            await child.wait(Duration(1), "nap")

        await context.parallel([branch, branch], "both")

    for function in (blocking(body, first := Recorder()), awaiting(same, second := Recorder())):
        Hosted(function).finish()
    for recorder in (first, second):
        one, two = invocations(recorder)
        assert Counter(one) == Counter(
            [
                *("invocation", "start both", "call both", "incomplete call both", "PENDING"),
                *("start parallel-branch-0", "call parallel-branch-0"),
                *("start parallel-branch-1", "call parallel-branch-1"),
                *("incomplete call parallel-branch-0", "incomplete call parallel-branch-1"),
                *["start nap"] * 2,
            ]
        )
        assert Counter(two)["succeeded nap"] == 2
        assert two[-3:] == ["succeeded call both", "succeeded both", "SUCCEEDED"]


def test_a_branch_that_is_given_up_has_no_end() -> None:
    def body(context: DurableContext) -> Any:
        def slow(child: DurableContext) -> None:
            child.create_callback("never").result()

        config = ParallelConfig(completion_config=CompletionConfig.first_successful())
        context.parallel([slow, lambda _: 1], "race", config)

    recorder = Recorder()
    Hosted(blocking(body, recorder)).finish()
    assert recorder.log[-1] == "SUCCEEDED"
    assert "incomplete call parallel-branch-0" in recorder.log
    assert "succeeded parallel-branch-1" in recorder.log
    assert not [line for line in recorder.log if line.endswith("ed parallel-branch-0")]


def test_hooks_of_an_operation_run_where_the_operation_does() -> None:
    recorder = Recorder()

    def body(context: DurableContext) -> None:
        context.parallel([lambda branch: branch.step(lambda _: 1, "s")], "p")

    Hosted(blocking(body, recorder)).run()
    thread = dict(zip(recorder.log, recorder.threads, strict=True))
    handler = thread["invocation"]
    assert {thread[line] for line in ("start p", "succeeded p", "SUCCEEDED")} == {handler}
    inside = {thread[line] for line in ("start parallel-branch-0", "call s #1", "succeeded s")}
    assert len(inside) == 1
    assert inside != {handler}


def test_changes_are_reported_on_a_thread_of_their_own() -> None:
    for _, recorder in runs_of("busy"):
        assert recorder.change_threads == {THREAD_NAME}
        seen = [
            {info.name: info.status for info in change.updated_operations.values()}
            for change in recorder.changes
        ]
        assert seen[0]["flaky"] is OperationStatus.PENDING
        assert seen[-1]["end"] is OperationStatus.SUCCEEDED
        last = recorder.changes[-1]
        kinds = [info.operation_type for info in last.operations.values()]
        assert kinds == [OperationType.EXECUTION, *("STEP", "WAIT", "STEP")]


def test_an_invocation_is_reported_with_what_is_known() -> None:
    def wait(context: DurableContext) -> None:
        context.wait(Duration(1), "nap")

    recorder = Recorder()
    function = blocking(wait, recorder)
    host = Hosted(function, '{"order": 7}')
    host.finish()
    first, second = [info for info in recorder.infos if isinstance(info, InvocationStartInfo)]
    assert (first.request_id, first.execution_arn) == ("invocation-1", host.arn)
    assert first.execution_input == {"order": 7}
    assert (first.is_first_invocation, second.is_first_invocation) == (True, False)
    assert first.updated_operations == {}
    assert [info.name for info in second.updated_operations.values()] == ["nap"]
    assert [info.operation_type for info in first.operations.values()] == ["EXECUTION"]
    end = [info for info in recorder.infos if isinstance(info, InvocationEndInfo)][-1]
    assert (end.execution_result, end.error) == ("null", None)
    assert [info.name for info in end.operations.values()] == ["one", "nap"]


def test_the_end_of_a_step_comes_with_what_it_recorded() -> None:
    recorder = Recorder()
    config = StepConfig(RetryPresets.none())

    def body(context: DurableContext) -> Any:
        context.step(lambda _: "a", "good")
        context.step(programs.flaky(9), "bad", config)

    Hosted(blocking(body, recorder)).run()
    good, bad = recorder.of("succeeded good"), recorder.of("failed bad")
    assert (good.result, good.error, good.attempt) == ('"a"', None, 1)
    assert (bad.result, bad.error.type, bad.error.message) == (None, "OSError", "flaky")
    assert good.start_time <= good.end_time
    failed = recorder.of("FAILED")
    assert failed.error.type == "perdure.exceptions.StepError"


def test_an_execution_that_diverges_is_to_be_run_again() -> None:
    recorder = Recorder()
    names = ["before", "after"]

    def body(context: DurableContext) -> None:
        context.step(lambda _: 1, names.pop(0))
        context.wait(Duration(1))

    host = Hosted(blocking(body, recorder))
    host.run()
    host.pass_time()
    host.deliver()
    assert recorder.log[-1] == "RETRY"
    assert recorder.of("RETRY").error.type == "perdure.exceptions.NonDeterministicExecutionError"
