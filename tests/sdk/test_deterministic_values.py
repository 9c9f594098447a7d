"""Times, identifiers and random values: the same in every replay."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from perdure import AsyncDurableContext, DurableContext
from perdure.config import ChildConfig, Duration
from perdure.primitives.deterministic import (
    deterministic_name,
    deterministic_random,
    deterministic_uuid,
)
from perdure.testing.worker import completion
from perdure.worker_api import Failed, Lost, Outcome, Succeeded
from perdure_core.execution import current_token
from perdure_core.model import OperationAction, OperationType
from tests.sdk.hosted import Crash, Hosted, checkpoint, handler, hosted_async

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(milliseconds: int) -> str:
    return (EPOCH + timedelta(milliseconds=milliseconds)).isoformat()


def hosted(body: Callable[[DurableContext], Any], *crashes: Crash) -> Hosted:
    return Hosted(handler(lambda _, context: body(context)), crashes=crashes)


def twice(context: DurableContext) -> list[str]:
    before = context.now("before")
    context.wait(Duration(60))
    return [before.isoformat(), context.now().isoformat()]


def test_now_is_when_the_service_recorded_it_whatever_the_time_of_a_replay() -> None:
    host = hosted(twice)
    host.worker_ahead_ms = 86_400_000
    assert host.finish() == Succeeded(f'["{moment(1_000_000)}", "{moment(1_060_000)}"]')
    (start, end), *_ = host.calls
    assert (start.type, start.sub_type, start.name) == (OperationType.STEP, "Now", "before")
    assert (start.action, end.action) == (OperationAction.START, OperationAction.SUCCEED)


def test_now_is_aware_and_in_utc_to_the_millisecond() -> None:
    seen: list[datetime] = []
    host = hosted(lambda context: seen.append(context.now()))
    host.now_ms = 1_790_000_000_007
    host.run()
    assert seen == [datetime.fromtimestamp(1_790_000_000, UTC) + timedelta(milliseconds=7)]
    assert seen[0].tzinfo is UTC


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("checkpoint", [1, 2, 3])
def test_a_crash_changes_no_time(checkpoint: int, accepted: bool) -> None:
    seen: set[str] = set()

    def body(context: DurableContext) -> None:
        seen.add(context.now().isoformat())
        context.wait(Duration(60))
        context.wait(Duration(60))

    hosted(body, Crash(checkpoint, accepted)).finish()
    assert seen == {moment(1_000_000)}


def test_a_time_whose_beginning_alone_was_recorded_is_that_of_its_end() -> None:
    host = hosted(lambda context: context.now("it").isoformat())
    host.run()
    start = host.calls[0][0]
    late = hosted(lambda context: context.now("it").isoformat())
    late.command(checkpoint(current_token(late.state, "lost", late.now_ms), 1, (start,), {}))
    late.command(completion(Lost(), current_token(late.state, "lost", late.now_ms)))
    late.now_ms += 5
    assert late.run() == Succeeded(f'"{moment(1_000_005)}"')
    assert late.updates == ["SUCCEED STEP"]


def all_of_them(context: DurableContext) -> list[Any]:
    def child(inner: DurableContext) -> list[Any]:
        return [str(inner.uuid()), inner.random().random()]

    virtual = ChildConfig[list[Any]](is_virtual=True)
    return [
        str(context.uuid()),
        str(context.uuid()),
        context.random().random(),
        context.random().random(),
        *context.run_in_child_context(child),
        *context.run_in_child_context(child),
        *context.run_in_child_context(child, config=virtual),
    ]


def test_values_are_equal_in_every_replay_and_differ_from_each_other() -> None:
    seen: list[list[Any]] = []

    def body(context: DurableContext) -> None:
        seen.append(all_of_them(context))
        context.wait(Duration(5))
        seen[-1].append(str(context.uuid()))
        context.wait(Duration(5))

    host = hosted(body)
    assert host.finish() == Succeeded("null")
    assert len(host.outcomes) == len(seen) == 3
    assert seen[0] == seen[1][:-1]
    assert seen[1] == seen[2]
    assert len(set(seen[2])) == len(seen[2]) == 11


def test_nothing_is_recorded_of_identifiers_and_chance() -> None:
    host = hosted(lambda context: [str(context.uuid()), context.random().random()])
    host.run()
    assert host.calls == []


def test_executions_differ_from_each_other() -> None:
    first, second = (deterministic_name(arn, None, "uuid", 1) for arn in ("arn-1", "arn-2"))
    assert deterministic_uuid(first) != deterministic_uuid(second)
    assert deterministic_random(first).random() != deterministic_random(second).random()


def test_the_derivation_is_what_it_has_always_been() -> None:
    name = deterministic_name("arn:perdure:default:order/one/0f", None, "uuid", 1)
    assert deterministic_uuid(name) == UUID("35883c45-cf7e-58cb-a3dc-b53ad751986c")
    assert deterministic_uuid(name).version == 5
    assert deterministic_random(name).random() == 0.15474577467913675


def test_asking_for_one_kind_shifts_no_other() -> None:
    def body(context: DurableContext, *, more: bool) -> str:
        if more:
            context.random()
            context.now()
        return str(context.uuid())

    with_more = hosted(lambda context: body(context, more=True)).finish()
    assert with_more == hosted(lambda context: body(context, more=False)).finish()


KINDS: list[Callable[[Any], Any]] = [
    lambda context: context.uuid(),
    lambda context: context.random(),
    lambda context: context.now(),
]


@pytest.mark.parametrize("ask", KINDS)
def test_they_are_not_for_steps(ask: Callable[[Any], Any]) -> None:
    outcome = hosted(lambda context: context.step(lambda _: ask(context))).finish()
    assert isinstance(outcome, Failed)
    assert "was called inside a step" in str(outcome.error.message)


@pytest.mark.parametrize("ask", KINDS)
def test_the_context_of_the_parent_is_not_for_the_child(ask: Callable[[Any], Any]) -> None:
    outcome = hosted(lambda context: context.run_in_child_context(lambda _: ask(context))).finish()
    assert isinstance(outcome, Failed)
    assert "Use the context passed to" in str(outcome.error.message)


def test_async_handlers_get_the_same_values() -> None:
    async def body(context: AsyncDurableContext) -> list[Any]:
        before = await context.now("before")
        await context.wait(Duration(60))
        return [before.isoformat(), str(context.uuid()), context.random().random()]

    def plain(context: DurableContext) -> list[Any]:
        before = context.now("before")
        context.wait(Duration(60))
        return [before.isoformat(), str(context.uuid()), context.random().random()]

    assert hosted_async(body).finish() == hosted(plain).finish()


@pytest.mark.parametrize("kind", ["uuid", "random"])
def test_a_task_that_has_waited_cannot_ask_the_context_of_another(kind: str) -> None:
    async def body(context: AsyncDurableContext) -> None:
        async def other() -> None:
            await asyncio.sleep(0)
            getattr(context, kind)()

        await asyncio.gather(other(), context.wait(Duration(1)))

    outcome: Outcome = hosted_async(body).finish()
    assert isinstance(outcome, Failed)
    assert "after it had awaited something" in str(outcome.error.message)


def test_tasks_may_ask_first_thing() -> None:
    seen: list[tuple[str, ...]] = []

    async def body(context: AsyncDurableContext) -> None:
        async def first_thing() -> str:
            return str(context.uuid())

        seen.append(await asyncio.gather(first_thing(), first_thing()))
        await context.wait(Duration(1))

    hosted_async(body).finish()
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 2
