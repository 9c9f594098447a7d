"""Who may call what over gRPC, bytes that are no message, and peers that take too long."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs

from perdure_gateway.grpc_api import open_calls, server
from perdure_gateway.grpc_api.open_calls import OpenCalls
from perdure_host.access.bearer_tokens import Tokens, read_tokens
from perdure_proto.v1 import client_pb2, node_pb2, worker_pb2
from tests.gateway.serving import (
    Bystander,
    Served,
    failure_of,
    registration,
    run,
    serving,
    start_request,
)

Code = grpc.StatusCode
FILE = """
shop client token-of-client
fleet worker token-of-worker
ops operator token-of-operator
two node token-of-node
token-of-all
"""
NOT_A_MESSAGE = b"\xff\xff\xff\xff"
ARN = "arn:perdure:lambda:default:000000000000:function:f:$LATEST/durable-execution/n/" + "0" * 32
METHODS: dict[str, tuple[str, Any]] = {
    "Start": ("executions.StartExecution", start_request()),
    "Stop": ("executions.StopExecution", client_pb2.StopExecutionRequest(execution_arn=ARN)),
    "Heartbeat": (
        "callbacks.HeartbeatCallback",
        client_pb2.HeartbeatCallbackRequest(callback_id="A"),
    ),
    "Register": ("workers.Register", registration()),
    "Checkpoint": ("workers.Checkpoint", worker_pb2.CheckpointRequest(checkpoint_token="t")),
    "Keep": ("workers.Heartbeat", worker_pb2.HeartbeatRequest(worker_id="w")),
    "Complete": ("workers.Complete", worker_pb2.CompleteRequest(checkpoint_token="t")),
    "HandOver": ("nodes.HandOver", node_pb2.HandOverRequest(successor="me")),
    "Describe": ("nodes.Describe", node_pb2.DescribeRequest()),
}
OF_CLIENTS = {"Start", "Stop", "Heartbeat"}
OF_WORKERS = {"Register", "Checkpoint", "Keep", "Complete"}


def tokens(folder: Path, text: str = FILE) -> Tokens:
    path = folder / "tokens"
    path.write_text(text)
    return read_tokens(str(path))


def bearer(token: str) -> Any:
    return (("authorization", f"Bearer {token}"),)


async def status_of_call(served: Served, name: str, token: str) -> grpc.StatusCode:
    path, request = METHODS[name]
    stub, _, method = path.partition(".")
    try:
        await getattr(getattr(served, stub), method)(request, metadata=bearer(token))
    except grpc.aio.AioRpcError as error:
        return error.code()
    return Code.OK


@pytest.mark.parametrize(
    ("token", "allowed"),
    [
        ("token-of-client", OF_CLIENTS),
        ("token-of-worker", OF_WORKERS),
        ("token-of-operator", OF_CLIENTS | {"HandOver"}),
        ("token-of-node", {"HandOver"}),
        ("token-of-all", OF_CLIENTS | OF_WORKERS),
    ],
)
def test_a_token_does_what_its_role_allows_and_nothing_else(
    tmp_path: Path, token: str, allowed: set[str]
) -> None:
    async def main() -> None:
        node = Bystander()
        async with serving(tokens=tokens(tmp_path), node=node) as served:
            codes = {name: await status_of_call(served, name, token) for name in METHODS}
            refused = {name for name, code in codes.items() if code is Code.PERMISSION_DENIED}
            assert refused == METHODS.keys() - allowed - {"Describe"}
            assert Code.UNAUTHENTICATED not in codes.values()
            assert node.handed_over is ("HandOver" in allowed)

    run(main)


def test_every_refusal_and_every_action_of_an_operator_is_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tokens=tokens(tmp_path)) as served:
            with capture_logs() as lines:
                await status_of_call(served, "HandOver", "token-of-client")
                await status_of_call(served, "Start", "guess")
                await status_of_call(served, "Stop", "token-of-client")
                await status_of_call(served, "Start", "token-of-client")
                await status_of_call(served, "Start", "token-of-operator")
            listed = [
                (line["event"], line["action"], line["caller"], line["status"])
                for line in lines
                if "action" in line
            ]
            assert listed == [
                ("call refused", "HandOver", "shop", "PERMISSION_DENIED"),
                ("call refused", "StartExecution", None, "UNAUTHENTICATED"),
                ("operator action", "StopExecution", "shop", "NOT_FOUND"),
                ("operator action", "StartExecution", "ops", "NOT_FOUND"),
            ]
            assert all("127.0.0.1" in line["peer"] for line in lines if "action" in line)
            assert "token-of" not in repr(lines)
            assert "guess" not in repr(lines)

    run(main)


def test_a_stream_ends_when_its_token_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WATCH_S", 0.01)
    monkeypatch.setattr("perdure_host.access.bearer_tokens.READ_AGAIN_S", 0.0)

    async def main() -> None:
        async with serving(tokens=tokens(tmp_path)) as served:
            stream: Any = served.workers.Session(metadata=bearer("token-of-worker"))
            await stream.write(worker_pb2.WorkerMessage(register=registration()))
            await stream.read()
            (tmp_path / "new").write_text(FILE.replace("token-of-worker", "token-of-successor"))
            (tmp_path / "new").replace(tmp_path / "tokens")
            assert await stream.code() is Code.UNAVAILABLE
            assert "withdrawn" in await stream.details()
            assert await status_of_call(served, "Register", "token-of-worker") is (
                Code.UNAUTHENTICATED
            )
            assert await status_of_call(served, "Register", "token-of-successor") is Code.OK

    run(main)


UNARY = [
    *("perdure_proto.v1.ExecutionService/StartExecution", "grpc.health.v1.Health/Check"),
    *("perdure_proto.v1.WorkerService/Checkpoint", "perdure_proto.v1.NodeService/HandOver"),
]
STREAMS = [
    *("perdure_proto.v1.WorkerService/Session", "grpc.health.v1.Health/Watch"),
    *("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",),
    *("perdure_proto.v1.ExecutionService/FollowExecutionHistory",),
]


async def sent_raw(served: Served, method: str, *content: bytes) -> grpc.aio.AioRpcError:
    """Send bytes to a method as its request; return the error."""

    async def requests() -> AsyncIterator[bytes]:
        for each in content:
            yield each

    async with grpc.aio.insecure_channel(served.address) as channel:
        multi_callable = cast("Any", channel).stream_stream(f"/{method}")
        call = multi_callable(requests())
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            return error
    raise AssertionError(f"{method} took it")


@pytest.mark.parametrize("method", [*UNARY, *STREAMS])
def test_bytes_that_are_no_message_are_an_invalid_argument_and_one_short_line(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving() as served:
            with capture_logs() as lines:
                refused = await sent_raw(served, method, NOT_A_MESSAGE)
            assert refused.code() is Code.INVALID_ARGUMENT
            assert "is no message of the type" in (refused.details() or "")
            assert [line["status"] for line in lines] == ["INVALID_ARGUMENT"]

    run(main)
    assert caplog.text == ""


def test_bytes_after_the_first_message_of_a_session_are_refused_too() -> None:
    async def main() -> None:
        async with serving() as served, grpc.aio.insecure_channel(served.address) as channel:
            multi_callable = cast("Any", channel).stream_stream(
                "/perdure_proto.v1.WorkerService/Session"
            )
            stream = multi_callable()
            first = worker_pb2.WorkerMessage(register=registration())
            await stream.write(first.SerializeToString())
            await stream.read()
            await stream.write(NOT_A_MESSAGE)
            assert await stream.code() is Code.INVALID_ARGUMENT

    run(main)


@pytest.mark.parametrize("method", [*UNARY, *STREAMS])
def test_the_token_comes_before_the_message(method: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tokens=tokens(tmp_path)) as served:
            refused = await sent_raw(served, method, NOT_A_MESSAGE)
            expected = Code.INVALID_ARGUMENT if "Health" in method else Code.UNAUTHENTICATED
            assert refused.code() is expected

    run(main)


def test_refusals_are_bounded_in_the_log(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tokens=tokens(tmp_path)) as served:
            with capture_logs() as lines:
                for _ in range(200):
                    await status_of_call(served, "Start", "guess")
            assert 0 < len(lines) < 50

    run(main)


def test_calls_end_in_the_order_in_which_their_peers_have_kept_them_waiting() -> None:
    async def main() -> None:
        now_s = 0.0
        calls = OpenCalls(now_s=lambda: now_s)
        steps = {name: asyncio.Event() for name in ("sent", "handled")}
        ended: list[str] = []

        async def call(name: str, *phases: str) -> None:
            calls.begin(None)
            try:
                for phase in phases:
                    await steps[phase].wait()
                    calls.receive() if phase == "sent" else calls.answer()
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        tasks = [
            asyncio.create_task(call("slow to send")),
            asyncio.create_task(call("slow to read", "sent", "handled")),
            asyncio.create_task(call("handled for long", "sent")),
        ]
        await asyncio.sleep(0)
        now_s = open_calls.PEER_S_MAX / 2
        for step in steps.values():
            step.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert calls.end_late() == 0
        now_s = open_calls.PEER_S_MAX
        assert calls.end_late() == 1
        await asyncio.sleep(0)
        assert ended == ["slow to send"]
        now_s *= 1.5
        assert calls.end_late() == 1
        await asyncio.sleep(0)
        assert ended == ["slow to send", "slow to read"]
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert calls.end_late() == 0

    run(main)


def test_among_too_many_slow_peers_the_slowest_makes_room_and_quick_ones_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_calls, "WAITING_MAX", 2)

    async def main() -> None:
        now_s = 0.0
        calls = OpenCalls(now_s=lambda: now_s)
        ended: list[int] = []

        async def call(number: int) -> None:
            calls.begin(None)
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(number)

        tasks: list[asyncio.Task[None]] = []
        for number, begun_s in enumerate([0.0, 1.0, 2.0, 11.0]):
            now_s = begun_s
            tasks.append(asyncio.create_task(call(number)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert ended == [0]
        assert calls.end_late() == 1
        assert calls.end_late() == 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main)


def test_a_caller_without_a_token_may_do_everything_where_there_are_no_tokens() -> None:
    async def main() -> None:
        node = Bystander()
        async with serving(node=node) as served:
            await served.nodes.HandOver(node_pb2.HandOverRequest(successor="me"))
            assert node.handed_over
            refused = await failure_of(served.workers.Poll(worker_pb2.PollRequest(worker_id="w")))
            assert refused.code() is Code.NOT_FOUND

    run(main)
