"""The end of a stream, and the message that is being written at that moment."""

import asyncio
from typing import Any, cast

import pytest

from perdure_gateway.grpc_api import stream_context
from perdure_gateway.grpc_api.stream_context import StreamContext
from tests.gateway.serving import run


class Context:
    """gRPC's context of a call whose peer reads when it is told to."""

    def __init__(self) -> None:
        self.read = asyncio.Event()
        self.began = asyncio.Event()
        self.written: list[str] = []

    async def write(self, message: str) -> None:
        self.began.set()
        await self.read.wait()
        if message == "broken":
            raise RuntimeError("the peer has gone")
        self.written.append(message)


async def cut_off(context: Context, message: str) -> Any:
    """Cancel a task in the middle of a write; return the context of its stream."""
    stream = StreamContext(cast("Any", context))
    writer = asyncio.create_task(stream.write(message))
    await context.began.wait()
    writer.cancel()
    await asyncio.wait((writer,))
    assert writer.cancelled()
    return stream


def test_a_write_that_was_cut_off_leaves_before_the_stream_ends() -> None:
    async def main() -> None:
        context = Context()
        stream = await cut_off(context, "a")
        settling = asyncio.create_task(stream.settle())
        await asyncio.sleep(0)
        assert not settling.done()
        context.read.set()
        await settling
        assert context.written == ["a"]
        await stream.settle()

    run(main)


def test_a_peer_that_reads_nothing_gets_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_context, "LAST_WRITE_S_MAX", 0.0)

    async def main() -> None:
        context = Context()
        stream = await cut_off(context, "a")
        with pytest.raises(asyncio.CancelledError):
            await stream.settle()
        context.read.set()
        await asyncio.sleep(0)
        assert not context.written

    run(main)


def test_a_write_that_fails_fails_for_who_waits_for_it_alone() -> None:
    async def main() -> None:
        context = Context()
        context.read.set()
        stream = StreamContext(cast("Any", context))
        with pytest.raises(RuntimeError, match="the peer has gone"):
            await stream.write("broken")
        context.read.clear()
        context.began.clear()
        cut = await cut_off(context, "broken")
        context.read.set()
        await cut.settle()

    run(main)
