"""Cancellation of running bodies."""

import asyncio
import threading
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext, DurableFunction, StepContext
from perdure.exceptions import StepCancelledError
from perdure.worker_api import FunctionSettings
from tests.worker.peer import DEADLINE_S, Peer, Stream, invocation
from tests.worker.scenario import RunningWorker, play, working


class Patient:
    """A body that runs until it is cancelled, and records it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.cancelled = threading.Event()

    def __call__(self, step: StepContext) -> None:
        self.entered.set()
        try:
            while True:
                step.raise_if_cancelled()
        except StepCancelledError:
            self.cancelled.set()
            raise

    async def wait(self, event: threading.Event) -> None:
        """Wait for one of the two."""
        assert await asyncio.to_thread(event.wait, DEADLINE_S)


def sync_function(body: Patient) -> DurableFunction:
    def handle(_: Any, context: DurableContext) -> None:
        context.step(body, "patient")

    return DurableFunction(handle, FunctionSettings("handler"))


def async_function(body: Patient) -> DurableFunction:
    async def handle(_: Any, context: AsyncDurableContext) -> None:
        await context.step(body, "patient")

    return DurableFunction(handle, FunctionSettings("handler"))


BOTH = pytest.mark.parametrize("make", [sync_function, async_function])


async def started(peer: Peer, body: Patient) -> Stream:
    stream = await peer.next_stream()
    await stream.register()
    await stream.deliver(invocation(1))
    await body.wait(body.entered)
    return stream


@BOTH
def test_a_body_sees_that_its_turn_has_passed(make: Any) -> None:
    body = Patient()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, make(body), slots=1):
            stream = await started(peer, body)
            await stream.lose("i1")
            await body.wait(body.cancelled)
            await stream.expect_credits(2)  # the slot is free again

    play(scenario)


@BOTH
def test_a_body_sees_that_its_worker_hands_it_back(make: Any) -> None:
    body = Patient()

    async def scenario() -> None:
        async with Peer() as peer, working(peer, make(body), slots=1) as worker:
            await started(peer, body)
            worker.stop.set()
            await body.wait(body.cancelled)
            assert await ended(worker) == 0

    play(scenario)


async def ended(worker: RunningWorker) -> int:
    return await worker.wait_exit()
