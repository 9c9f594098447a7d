"""Async handlers, lost at every checkpoint: the results and the histories of the blocking ones."""

import pytest

from perdure import AsyncDurableContext, DurableFunction
from perdure_core.state import is_open
from tests.sdk import test_crash_everywhere as blocking
from tests.sdk.async_programs import PROGRAMS
from tests.sdk.hosted import Crash, Hosted


def finished(name: str, *crashes: Crash) -> Hosted:
    async def handle(_event: object, context: AsyncDurableContext) -> object:
        return await PROGRAMS[name](context)

    host = Hosted(DurableFunction(handle, name="under-test"), None, crashes, ["other"])
    host.run()
    while is_open(host.state):
        if host.state.callbacks_open and name == "callback":
            host.succeed_callback("answer")
        elif host.state.children_open:
            host.end_invoke("SUCCEEDED", '"answer"')
        else:
            host.pass_time()
        host.run()
    return host


def test_every_program_has_its_twin() -> None:
    assert list(PROGRAMS) == list(blocking.PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_async_program_does_what_the_blocking_one_does(name: str) -> None:
    ours, theirs = finished(name), blocking.finished(blocking.PROGRAMS[name])
    assert type(ours.outcomes[-1]).__name__ == "Succeeded"
    assert ours.outcomes[-1] == theirs.outcomes[-1]
    assert ours.ends == theirs.ends
    assert ours.state.operations.keys() == theirs.state.operations.keys()
    assert sorted(ours.updates) == sorted(theirs.updates)
    if "batch" not in name:  # branches that block take turns as their threads do
        assert ours.history == theirs.history


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_async_program_survives_a_crash_at_any_checkpoint(name: str, accepted: bool) -> None:
    whole = finished(name)
    for number in range(1, len(whole.calls) + 1):
        host = finished(name, Crash(number, accepted))
        assert host.outcomes[-1] == whole.outcomes[-1], f"crash at {number}"
        if name != "interrupted":
            assert host.ends == whole.ends, f"crash at {number}"
