"""Plain functions, and functions of any other kind, in a worker."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

from perdure import PlainContext, PlainFunction
from perdure.worker_api import FunctionSettings, InvocationEnvironment, Lost, Outcome, Succeeded
from tests.worker.peer import DEADLINE_S, Peer, invocation
from tests.worker.scenario import one_step, play, working


class Elsewhere:
    """A function whose handler is not Python: it implements running an invocation, and no more."""

    settings = FunctionSettings("elsewhere", execution_timeout_s=900, retention_days=1)
    durable = True

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async
        self.entered, self.stopped = threading.Event(), threading.Event()

    def run(self, environment: InvocationEnvironment) -> Outcome:
        environment.checkpoints.submit([], urgent=True).result(DEADLINE_S)
        return Succeeded(f'"{environment.invocation.function_name}"')

    async def run_async(self, environment: InvocationEnvironment) -> Outcome:
        try:
            self.entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.stopped.set()
        return Lost()


def test_a_worker_announces_which_functions_are_durable() -> None:
    settings = FunctionSettings("plain", retention_days=3, tenant_isolation=True)
    plain = PlainFunction(lambda event, _context: event, settings)

    async def scenario() -> None:
        async with Peer() as peer, working(peer, one_step(), plain):
            stream = await peer.next_stream()
            registration = await stream.register()
            registered = [(each.function_name, each.durable) for each in registration.functions]
            assert registered == [("handler", True), ("plain", False)]
            assert registration.functions[1].retention_days == 3
            assert [each.tenant_isolation for each in registration.functions] == [False, True]

    play(scenario)


def test_plain_functions_run_in_threads_or_on_the_loop_and_end_their_executions() -> None:
    def double(event: Any, context: PlainContext) -> Any:
        return [2 * event["number"], context.tenant_id]

    async def double_later(event: Any, _context: PlainContext) -> Any:
        await asyncio.sleep(0)
        return 2 * event["number"]

    functions = (
        PlainFunction(double, FunctionSettings("double")),
        PlainFunction(double_later, FunctionSettings("double-later")),
    )

    async def scenario() -> None:
        async with Peer() as peer, working(peer, *functions):
            stream = await peer.next_stream()
            await stream.register()
            event = '{"number": 21}'
            await stream.deliver(invocation(1, "double", event=event, tenant_id="blue"))
            end = await stream.expect_call("completions")
            assert (end.request.status, end.request.result) == ("SUCCEEDED", '[42, "blue"]')
            await stream.confirm(end)
            await stream.deliver(invocation(2, "double-later", event=event))
            end = await stream.expect_call("completions")
            assert (end.request.status, end.request.result) == ("SUCCEEDED", "42")
            await stream.confirm(end)

    play(scenario)


def test_another_kind_of_function_is_run_as_it_says() -> None:
    async def scenario() -> None:
        async with Peer() as peer, working(peer, Elsewhere(is_async=False)):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, "elsewhere"))
            await stream.accept(await stream.expect_call("checkpoints"), "t2")
            end = await stream.expect_call("completions")
            assert (end.request.status, end.request.result) == ("SUCCEEDED", '"elsewhere"')
            await stream.confirm(end)

    play(scenario)


def test_another_kind_of_function_is_cancelled_when_its_turn_has_passed() -> None:
    function = Elsewhere(is_async=True)

    async def scenario() -> None:
        async with Peer() as peer, working(peer, function, slots=1):
            stream = await peer.next_stream()
            await stream.register()
            await stream.deliver(invocation(1, "elsewhere"))
            assert await asyncio.to_thread(function.entered.wait, DEADLINE_S)
            await stream.lose("i1")
            assert await asyncio.to_thread(function.stopped.wait, DEADLINE_S)
            await stream.expect_credits(2)

    play(scenario)


VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


def test_functions_see_the_context_variables_of_their_worker_and_of_nothing_else() -> None:
    def note(_event: Any, _context: PlainContext) -> str:
        seen = VARIABLE.get()
        VARIABLE.set("left")
        return seen

    async def note_later(event: Any, context: PlainContext) -> str:
        return note(event, context)

    functions = (
        PlainFunction(note, FunctionSettings("note")),
        PlainFunction(note_later, FunctionSettings("note-later")),
    )

    async def scenario() -> None:
        VARIABLE.set("worker")
        async with Peer() as peer, working(peer, *functions, slots=1):
            stream = await peer.next_stream()
            await stream.register()
            for number, name in enumerate(("note", "note", "note-later", "note-later")):
                await stream.deliver(invocation(number, name))
                end = await stream.expect_call("completions")
                assert end.request.result == '"worker"'
                await stream.confirm(end)

    play(scenario)
