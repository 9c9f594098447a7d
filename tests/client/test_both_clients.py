"""The synchronous and the asynchronous client over a real connection: both do the same."""

import asyncio

import grpc
import pytest

from perdure.client import (
    AsyncClient,
    Client,
    FailedPreconditionError,
    NotFoundError,
    ServerError,
)
from perdure_proto.v1 import client_pb2, model_pb2
from tests.client.scripted_server import Script, event, running, serving, started, succeeded

AWAY = grpc.StatusCode.UNAVAILABLE


def test_a_run_survives_a_server_that_is_away_now_and_then() -> None:
    script = Script(answers=[AWAY, started(running()), AWAY, running(), succeeded('{"ok": true}')])
    with serving(script) as server, Client(server) as client:
        assert client.run("order", {"id": 1}) == {"ok": True}
    kinds = [type(each).__name__ for each in script.requests]
    assert kinds == ["StartExecutionRequest"] * 2 + ["GetExecutionRequest"] * 3


def test_an_async_run_survives_a_server_that_is_away_now_and_then() -> None:
    async def scene() -> None:
        script = Script(
            answers=[AWAY, started(running()), AWAY, running(), succeeded('{"ok": true}')]
        )
        with serving(script) as server:
            async with AsyncClient(server) as client:
                assert await client.run("order", {"id": 1}) == {"ok": True}
        assert len(script.requests) == 5

    asyncio.run(scene())


REFUSAL = (grpc.StatusCode.FAILED_PRECONDITION, "callback_completed")


def test_an_error_has_the_code_that_the_server_gives() -> None:
    with (
        serving(Script(answers=[REFUSAL])) as server,
        Client(server) as client,
        pytest.raises(FailedPreconditionError) as refused,
    ):
        client.get("arn:1")
    assert refused.value.code == "callback_completed"


def test_an_async_error_has_the_code_that_the_server_gives() -> None:
    async def scene() -> None:
        with serving(Script(answers=[REFUSAL])) as server:
            async with AsyncClient(server) as client:
                with pytest.raises(FailedPreconditionError) as refused:
                    await client.get("arn:1")
        assert refused.value.code == "callback_completed"

    asyncio.run(scene())


def test_a_start_without_a_name_gets_one() -> None:
    script = Script(answers=[started(running()), started(running())])
    with serving(script) as server, Client(server) as client:
        client.start("order")
        client.start("order")
    names = {getattr(each, "execution_name", "") for each in script.requests}
    assert len(names) == 2
    assert "" not in names


def test_an_empty_name_is_not_replaced() -> None:
    script = Script(answers=[started(running()), started(running())])
    with serving(script) as server, Client(server) as client:
        client.start("order", name="")

    async def scene() -> None:
        async with AsyncClient(server) as client:
            await client.start("order", name="")

    with serving(script) as server:
        asyncio.run(scene())
    assert [getattr(each, "execution_name", None) for each in script.requests] == ["", ""]


TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793"


def test_a_start_says_whose_it_is_and_of_which_trace() -> None:
    script = Script(answers=[started(running())])
    with serving(script) as server, Client(server) as client:
        client.start("order", tenant_id="acme", trace_header=TRACE)
    check_start(script)


def test_an_async_start_says_whose_it_is_and_of_which_trace() -> None:
    async def scene() -> None:
        script = Script(answers=[started(running())])
        with serving(script) as server:
            async with AsyncClient(server) as client:
                await client.start("order", tenant_id="acme", trace_header=TRACE)
        check_start(script)

    asyncio.run(scene())


def check_start(script: Script) -> None:
    (request,) = script.requests
    assert isinstance(request, client_pb2.StartExecutionRequest)
    assert (request.tenant_id, request.trace_header) == ("acme", TRACE)


def test_a_start_without_a_trace_header_has_none() -> None:
    script = Script(answers=[started(running())])
    with serving(script) as server, Client(server) as client:
        client.start("order")
    (request,) = script.requests
    assert isinstance(request, client_pb2.StartExecutionRequest)
    assert not request.HasField("trace_header")


def test_a_broken_stream_is_taken_up_after_the_last_event() -> None:
    script = Script(streams=[[event(1), event(2), AWAY], [AWAY], [event(3)]])
    with serving(script) as server, Client(server) as client:
        assert [each.event_id for each in client.follow("arn:1")] == [1, 2, 3]
    asked = [getattr(each, "after_event_id", None) for each in script.requests]
    assert asked == [0, 2, 2]


def test_an_async_broken_stream_is_taken_up_after_the_last_event() -> None:
    async def scene() -> None:
        script = Script(streams=[[event(1), event(2), AWAY], [AWAY], [event(3)]])
        with serving(script) as server:
            async with AsyncClient(server) as client:
                assert [each.event_id async for each in client.follow("arn:1")] == [1, 2, 3]
        asked = [getattr(each, "after_event_id", None) for each in script.requests]
        assert asked == [0, 2, 2]

    asyncio.run(scene())


def test_what_cannot_be_followed_is_reported() -> None:
    script = Script(streams=[[grpc.StatusCode.NOT_FOUND]])
    with serving(script) as server, Client(server) as client, pytest.raises(NotFoundError):
        list(client.follow("arn:1"))


def pages() -> list[client_pb2.ListExecutionsResponse]:
    names = [["a", "b"], ["c"]]
    return [
        client_pb2.ListExecutionsResponse(
            executions=[model_pb2.ExecutionSummary(execution_name=each) for each in page],
            next_marker=marker,
        )
        for page, marker in zip(names, ["next", ""], strict=True)
    ]


def test_a_list_goes_on_from_page_to_page() -> None:
    script = Script(answers=[*pages()])
    with serving(script) as server, Client(server) as client:
        assert [each.execution_name for each in client.list_executions()] == ["a", "b", "c"]
    assert [getattr(each, "marker", None) for each in script.requests] == ["", "next"]


def test_an_async_list_goes_on_from_page_to_page() -> None:
    async def scene() -> None:
        script = Script(answers=[*pages()])
        with serving(script) as server:
            async with AsyncClient(server) as client:
                assert [each.execution_name async for each in client.list_executions()] == [
                    *("a", "b", "c")
                ]

    asyncio.run(scene())


def test_a_call_that_the_server_does_not_know_is_its_fault() -> None:
    with serving(Script()) as server, Client(server) as client, pytest.raises(ServerError):
        client.stop("arn:1")
