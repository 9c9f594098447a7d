"""Suspension of async invocations: when they suspend, and how their tasks stop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from perdure import AsyncDurableContext, StepContext
from perdure.config import CompletionConfig, Duration, MapConfig, ParallelConfig
from perdure.exceptions import OrphanedChildException, SuspendExecution
from perdure.worker_api import Failed, InvocationLost, Lost, Pending, Succeeded
from tests.sdk.hosted import Crash, hosted_async

Waiting = Callable[[Coroutine[Any, Any, Any], AsyncDurableContext], Coroutine[Any, Any, Any]]


async def by_itself(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    return await call


async def by_task(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    return await asyncio.create_task(call)


async def by_gather(call: Coroutine[Any, Any, Any], context: AsyncDurableContext) -> Any:
    nested = asyncio.gather(asyncio.gather(call), context.wait(Duration(5)))
    return (await nested)[0][0]


async def by_group(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(call)
    return task.result()


async def by_shield(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    return await asyncio.shield(call)


async def by_wait(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    (done,), _pending = await asyncio.wait([asyncio.create_task(call)])
    return done.result()


async def by_wait_for(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    return await asyncio.wait_for(call, 60)


async def by_timeout(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    async with asyncio.timeout(60):
        return await call


async def by_completion(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    (first,) = asyncio.as_completed([call])
    return await first


async def by_queue(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def produce() -> None:
        await queue.put(await call)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        return await queue.get()


async def by_event_and_lock(call: Coroutine[Any, Any, Any], _: AsyncDurableContext) -> Any:
    ready, lock = asyncio.Event(), asyncio.Lock()

    async def produce() -> Any:
        async with lock:
            value = await call
        ready.set()
        return value

    async def follow() -> None:
        async with lock:
            pass

    return (await asyncio.gather(produce(), ready.wait(), follow()))[0]


@pytest.mark.parametrize(
    "waiting",
    [
        *(by_itself, by_task, by_gather, by_group, by_shield, by_wait, by_wait_for, by_timeout),
        *(by_completion, by_queue, by_event_and_lock),
    ],
)
def test_an_invocation_suspends_however_its_tasks_wait_for_each_other(waiting: Waiting) -> None:
    async def body(context: AsyncDurableContext) -> Any:
        callback = await context.create_callback()
        return await waiting(callback.result(), context)

    host = hosted_async(body)
    assert host.run() == Pending()
    host.succeed_callback("yes")
    assert host.finish() == Succeeded('"yes"')


async def by_sleep() -> None:
    await asyncio.sleep(0.02)


async def by_thread() -> None:
    await asyncio.to_thread(threading.Event().wait, 0.02)


async def by_timer() -> None:
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.02, done.set_result, None)
    await done


async def by_process() -> None:
    await (await asyncio.create_subprocess_exec("true")).wait()


async def by_socket() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("work", [by_sleep, by_thread, by_timer, by_socket])
def test_whatever_else_a_task_waits_for_is_work_that_goes_on(
    work: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    worked: list[str] = []

    async def body(context: AsyncDurableContext) -> Any:
        async def work_on() -> str:
            await work()
            worked.append("worked")
            return "worked"

        return await asyncio.gather(work_on(), context.wait(Duration(5)))

    host = hosted_async(body)
    assert host.run() == Pending()
    assert worked == ["worked"]
    assert host.finish() == Succeeded('["worked", null]')


def test_an_operation_goes_on_in_place_while_a_step_runs() -> None:
    runs: list[str] = []

    async def body(context: AsyncDurableContext) -> Any:
        runs.append("run")
        started = asyncio.Event()

        async def turn_the_clock(_: StepContext) -> str:
            await started.wait()
            host.pass_time()
            return "worked"

        async def rest(inner: AsyncDurableContext) -> str:
            waiting = asyncio.create_task(inner.wait(Duration(5), "nap"))
            await inner.step(lambda _: None)
            started.set()
            await waiting
            return await inner.step(lambda _: "rested")

        return await asyncio.gather(
            context.run_in_child_context(rest), context.step(turn_the_clock)
        )

    host = hosted_async(body)
    assert host.run() == Succeeded('["rested", "worked"]')
    assert runs == ["run"]
    assert len(host.outcomes) == 1


def test_a_wait_that_is_due_is_asked_for_while_a_step_runs() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        rested = threading.Event()

        def hold(_: StepContext) -> bool:
            return rested.wait(60)

        async def rest(inner: AsyncDurableContext) -> None:
            await inner.wait(Duration.from_milliseconds(20))
            rested.set()

        asyncio.get_running_loop().call_later(0.01, host.pass_time)
        return await asyncio.gather(context.step(hold), context.run_in_child_context(rest))

    host = hosted_async(body)
    assert host.run() == Succeeded("[true, null]")
    assert len(host.outcomes) == 1


def test_suspension_runs_what_is_left_to_clean_up() -> None:
    cleaned: list[str] = []

    async def body(context: AsyncDurableContext) -> Any:
        async def rest(name: str) -> None:
            try:
                await context.wait(Duration(5), name)
            finally:
                await asyncio.sleep(0)
                cleaned.append(name)

        await asyncio.gather(rest("one"), rest("two"))
        return "awake"

    host = hosted_async(body)
    assert host.run() == Pending()
    assert cleaned == ["one", "two"]
    assert host.finish() == Succeeded('"awake"')


@pytest.mark.parametrize("swallowed", [asyncio.CancelledError, BaseException])
def test_a_handler_that_swallows_its_suspension_changes_nothing(
    swallowed: type[BaseException],
) -> None:
    async def body(context: AsyncDurableContext) -> Any:
        with suppress(swallowed):
            await context.wait(Duration(5), "nap")
        with suppress(SuspendExecution):
            await context.step(lambda _: "too late", "late")
        return "done"

    host = hosted_async(body)
    assert host.run() == Pending()
    assert [op.name for op in host.state.operations.values()] == ["nap"]
    assert host.finish() == Succeeded('"done"')


def test_a_handler_that_never_stops_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.drivers.tasks.STOP_S_MAX", 0.05)
    over = threading.Event()

    async def body(context: AsyncDurableContext) -> Any:
        while not over.is_set():
            with suppress(asyncio.CancelledError, SuspendExecution):
                await context.wait(Duration(5), "nap")

    host = hosted_async(body)
    assert host.run() == Pending()
    over.set()


def test_what_a_handler_leaves_behind_is_cancelled_and_records_nothing() -> None:
    left: list[str] = []

    async def body(context: AsyncDurableContext) -> Any:
        async def linger() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                left.append("cancelled")
                with pytest.raises(BaseException, match="complete without it"):
                    await context.step(lambda _: 1, "late")
                raise

        task = asyncio.create_task(linger())
        await context.wait(Duration(1))
        return task.done()

    host = hosted_async(body)
    assert host.finish() == Succeeded("false")
    assert left == ["cancelled", "cancelled"]
    assert [op.name for op in host.state.operations.values()] == [None]


def test_what_the_body_of_a_child_leaves_behind_records_nothing_after_its_end() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        ended = asyncio.Event()
        late: list[asyncio.Task[Any]] = []

        async def child(inner: AsyncDurableContext) -> str:
            async def work(_: StepContext) -> str:
                await ended.wait()
                return "late"

            late.append(asyncio.create_task(inner.step(work, "late")))
            await inner.step(lambda _: None, "in time")
            return "done"

        result = await context.run_in_child_context(child, "child")
        ended.set()
        await asyncio.wait(late)
        assert isinstance(late[0].exception(), OrphanedChildException)
        return [result, await context.step(lambda _: "after", "after")]

    host = hosted_async(body)
    assert host.finish() == Succeeded('["done", "after"]')
    assert {name for _, name in host.ends} == {None, "after", "child", "in time"}


def test_a_turn_that_has_passed_cancels_the_handler() -> None:
    seen: list[str] = []

    async def body(context: AsyncDurableContext) -> Any:
        async def work(_: StepContext) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        await asyncio.gather(context.step(work), context.wait(Duration(5)))

    host = hosted_async(body)
    host.crashes[1] = Crash(1, accepted=False)
    assert host.deliver() == Lost()
    assert seen == ["cancelled"]


def test_a_refused_checkpoint_fails_the_execution_and_cancels_the_rest() -> None:
    seen: list[str] = []

    async def body(context: AsyncDurableContext) -> Any:
        async def stay() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("stopped")

        await asyncio.gather(stay(), context.step(lambda _: "x" * 67_108_864))

    outcome = hosted_async(body).run()
    assert isinstance(outcome, Failed)
    assert "67,108,866" in (outcome.error.message or "")
    assert seen == ["stopped"]


def test_branches_beside_a_winner_are_cancelled() -> None:
    seen: list[str] = []

    async def win(context: AsyncDurableContext) -> str:
        return await context.step(lambda _: "won")

    async def lose(context: AsyncDurableContext) -> str:
        async def work(_: StepContext) -> str:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cancelled")
            return "lost"

        return await context.step(work)

    async def body(context: AsyncDurableContext) -> Any:
        config = ParallelConfig(completion_config=CompletionConfig.first_successful())
        result = await context.parallel([lose, win, lose], None, config)
        return result.get_results()

    assert hosted_async(body).run() == Succeeded('["won"]')
    assert seen == ["cancelled", "cancelled"]


def test_a_thousand_branches_wait_in_one_thread() -> None:
    async def item(context: AsyncDurableContext, number: int, *_: Any) -> int:
        await context.wait(Duration(5))
        return number

    async def body(context: AsyncDurableContext) -> Any:
        before = set(threading.enumerate())
        result = await context.map(range(300), item, "map", MapConfig())
        return [sum(result.get_results()), len(set(threading.enumerate()) - before)]

    host = hosted_async(body)
    assert host.finish() == Succeeded(f"[{sum(range(300))}, 0]")


def test_threads_of_bodies_are_let_go() -> None:
    threads: set[threading.Thread] = set()

    async def body(context: AsyncDurableContext) -> Any:
        await context.step(lambda _: threads.add(threading.current_thread()))

    assert hosted_async(body).run() == Succeeded("null")
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_bodies_of_steps_run_in_threads_and_on_the_loop_side_by_side() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        meeting = threading.Barrier(3)

        def meet(_: StepContext) -> bool:
            meeting.wait(60)
            return threading.current_thread() is threading.main_thread()

        async def stay(_: StepContext) -> str:
            await asyncio.to_thread(meeting.wait, 10)
            return "met"

        return await asyncio.gather(context.step(meet), context.step(meet), context.step(stay))

    assert hosted_async(body).run() == Succeeded('[false, false, "met"]')


def test_control_flow_that_a_body_lets_through_is_no_failure_of_its_step() -> None:
    async def body(context: AsyncDurableContext) -> Any:
        async def work(_: StepContext) -> None:
            raise InvocationLost

        await context.step(work)

    assert hosted_async(body).deliver() == Lost()
