"""Executions as clients see them: waiting, reading, paging, following."""

import asyncio
from typing import Any

import grpc
import pytest

from perdure_core.limits import PAGE_BYTES_MAX
from perdure_host.services import key_of
from perdure_host.tokens import pack_marker
from perdure_proto.v1 import client_pb2, model_pb2, worker_pb2
from tests.gateway.serving import (
    Peer,
    Served,
    failure_of,
    registration,
    run,
    serving,
    start_request,
    step,
)

STEPS = 150


async def started(served: Served, **more: Any) -> str:
    return (await served.executions.StartExecution(start_request(**more))).execution_arn


async def run_steps(served: Served, peer: Peer, steps: int, payload: str = "1") -> str:
    """Run an execution of so many steps, each with two events."""
    arn = await started(served)
    token = (await peer.invocation()).checkpoint_token
    for number in range(steps):
        updates = [step(f"s{number}", "START"), step(f"s{number}", "SUCCEED", payload=payload)]
        reply = await peer.checkpoint(token, *updates)
        token = reply.checkpoint.checkpoint_token
    await peer.complete(token, result="done")
    return arn


async def pages(served: Served, arn: str, **more: Any) -> list[list[int]]:
    ids: list[list[int]] = []
    marker = ""
    while True:
        request = client_pb2.GetExecutionHistoryRequest(execution_arn=arn, marker=marker, **more)
        answer = await served.executions.GetExecutionHistory(request)
        ids.append([event.event_id for event in answer.events])
        marker = answer.next_marker
        if not marker:
            return ids


def test_pages_of_a_history_hold_every_event_once_in_both_directions() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            arn = await run_steps(served, peer, STEPS)
            everything = [*range(1, 2 * STEPS + 4)]
            forward = await pages(served, arn, max_items=7)
            assert [event_id for page in forward for event_id in page] == everything
            assert {len(page) for page in forward[:-1]} == {7}
            backward = await pages(served, arn, max_items=130, reverse_order=True)
            assert [event_id for page in backward for event_id in page] == everything[::-1]
            assert [len(page) for page in backward] == [130, 130, 43]
            assert [len(page) for page in await pages(served, arn)] == [100, 100, 100, 3]
            assert [len(page) for page in await pages(served, arn, max_items=303)] == [303]

    run(main)


def test_a_page_ends_when_it_has_grown_large() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            arn = await run_steps(served, peer, 6, payload="x" * 1_000_000)
            sizes = [len(page) for page in await pages(served, arn)]
            # Two payloads of a megabyte fit, and a third one does not.
            assert 2_000_000 < PAGE_BYTES_MAX < 3_000_000
            assert sizes == [6, 4, 5]
            assert await pages(served, arn, exclude_execution_data=True) == [[*range(1, 16)]]

    run(main)


def test_payloads_are_left_out_on_demand_and_events_say_so() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            arn = await run_steps(served, peer, 1)
            request = client_pb2.GetExecutionHistoryRequest(
                execution_arn=arn, exclude_execution_data=True
            )
            answer = await served.executions.GetExecutionHistory(request)
            truncated = [event.event_type for event in answer.events if event.truncated]
            assert truncated == ["StepSucceeded", "ExecutionSucceeded"]
            assert not any(event.HasField("result") for event in answer.events)
            execution = await served.executions.GetExecution(
                client_pb2.GetExecutionRequest(execution_arn=arn, exclude_execution_data=True)
            )
            assert execution.status == "SUCCEEDED"
            assert not execution.HasField("result")

    run(main)


def test_a_follower_sees_every_event_until_the_end() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            arn = await started(served)
            stream = served.executions.FollowExecutionHistory(
                client_pb2.FollowExecutionHistoryRequest(execution_arn=arn)
            )
            events = aiter(stream)
            seen = [(await anext(events)).event_type]
            token = (await peer.invocation()).checkpoint_token
            await peer.complete(token, "FAILED", error=model_pb2.ErrorObject(error_type="Sad"))
            seen += [event.event_type async for event in events]
            assert seen == ["ExecutionStarted", "InvocationCompleted", "ExecutionFailed"]

    run(main)


def test_a_wait_ends_with_the_execution_or_its_time() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            arn = await started(served)
            soon = client_pb2.GetExecutionRequest(execution_arn=arn, wait_ms=1)
            assert (await served.executions.GetExecution(soon)).status == "RUNNING"
            late = client_pb2.GetExecutionRequest(execution_arn=arn, wait_ms=900_000)
            waiting = asyncio.ensure_future(served.executions.GetExecution(late))
            await served.executions.StopExecution(
                client_pb2.StopExecutionRequest(execution_arn=arn)
            )
            assert (await waiting).status == "STOPPED"

    run(main)


def test_waits_and_followers_are_let_go_when_the_node_stops() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            arn = await started(served)
            stream = served.executions.FollowExecutionHistory(
                client_pb2.FollowExecutionHistoryRequest(execution_arn=arn)
            )
            await stream.read()
            late = client_pb2.GetExecutionRequest(execution_arn=arn, wait_ms=900_000)
            waiting = asyncio.ensure_future(failure_of(served.executions.GetExecution(late)))
            await served.executions.ListFunctions(client_pb2.ListFunctionsRequest())
            await served.server.drain()
            failure = await waiting
            assert failure.code() is grpc.StatusCode.UNAVAILABLE
            assert failure.details() == "this node is stopping; try again"
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await stream.read()
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE

    run(main)


def test_a_list_is_filtered_and_paged() -> None:
    async def main() -> None:
        async with serving() as served:
            functions = [
                worker_pb2.FunctionDefinition(function_name=name, durable=True) for name in "fg"
            ]
            await Peer.connect(served, registration(functions=functions))
            arns = [await started(served, execution_name=f"n{number}") for number in range(5)]
            other = await started(served, function_name="g")
            request = client_pb2.ListExecutionsRequest
            listed: list[str] = []
            marker = ""
            while True:
                page = await served.executions.ListExecutions(
                    request(function_name="f", max_items=2, marker=marker, reverse_order=True)
                )
                listed += [execution.execution_arn for execution in page.executions]
                marker = page.next_marker
                if not marker:
                    break
            assert sorted(listed) == sorted(arns)
            await served.executions.StopExecution(
                client_pb2.StopExecutionRequest(execution_arn=other)
            )
            stopped = await served.executions.ListExecutions(request(statuses=["STOPPED"]))
            assert [each.execution_arn for each in stopped.executions] == [other]
            assert stopped.executions[0].HasField("end_timestamp")
            named = await served.executions.ListExecutions(request(execution_name="n3"))
            assert [each.execution_name for each in named.executions] == ["n3"]
            begun = await served.executions.ListExecutions(
                request(execution_name_prefix="n", function_name="f", reverse_order=True)
            )
            assert sorted(each.execution_name for each in begun.executions) == [
                f"n{number}" for number in range(5)
            ]

    run(main)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"execution_name": "n", "execution_name_prefix": "n"},
            "execution_name_prefix must be empty beside execution_name",
        ),
        ({"marker": pack_marker("executions", (2**63, "0" * 32))}, "the time in the marker must"),
        ({"marker": pack_marker("executions", (1, "x"))}, "it must name an execution"),
        ({"marker": pack_marker("events", (1,))}, "malformed page marker"),
    ],
)
def test_a_list_of_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    async def main() -> None:
        async with serving() as served:
            with pytest.raises(grpc.aio.AioRpcError, match=message) as refused:
                await served.executions.ListExecutions(client_pb2.ListExecutionsRequest(**fields))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(main)


def test_pause_and_resume_are_shown() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            arn = await started(served)
            paused = await served.executions.PauseExecution(
                client_pb2.PauseExecutionRequest(execution_arn=arn, reason="lunch")
            )
            get = client_pb2.GetExecutionRequest(execution_arn=arn)
            execution = await served.executions.GetExecution(get)
            assert paused.status == execution.status == "PAUSED"
            assert execution.waiting_for == "pause"
            assert execution.pause_details.reason == "lunch"
            assert execution.pause_details.execution_timeout_paused
            resumed = await served.executions.ResumeExecution(
                client_pb2.ResumeExecutionRequest(execution_arn=arn)
            )
            assert resumed.status == "RUNNING"
            assert not (await served.executions.GetExecution(get)).HasField("pause_details")

    run(main)


def test_an_open_callback_is_shown_and_can_be_completed() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            arn = await started(served)
            token = (await peer.invocation()).checkpoint_token
            reply = await peer.checkpoint(
                token,
                worker_pb2.OperationUpdate(
                    id="c",
                    type="CALLBACK",
                    action="START",
                    name="approval",
                    callback_options=worker_pb2.CallbackOptions(
                        timeout_seconds=60, heartbeat_timeout_seconds=10
                    ),
                ),
            )
            await peer.complete(reply.checkpoint.checkpoint_token, "PENDING")
            get = client_pb2.GetExecutionRequest(execution_arn=arn)
            execution = await served.executions.GetExecution(get)
            (callback,) = execution.open_callbacks
            assert (callback.operation_id, callback.name) == ("c", "approval")
            due_s = callback.due_timestamp.seconds - callback.start_timestamp.seconds
            assert due_s == 10
            assert execution.waiting_for == "callback"
            assert execution.next_timer_timestamp == callback.due_timestamp
            beat = client_pb2.HeartbeatCallbackRequest(callback_id=callback.callback_id)
            await served.callbacks.HeartbeatCallback(beat)
            done = client_pb2.SucceedCallbackRequest(callback_id=callback.callback_id, result="1")
            await served.callbacks.SucceedCallback(done)
            await peer.send(credit=worker_pb2.Credit(slots=1))
            invocation = await peer.invocation()
            assert list(invocation.updated_operation_ids) == ["c"]
            assert invocation.operations[1].callback_details.result == "1"
            assert not (await served.executions.GetExecution(get)).open_callbacks

    run(main)


def test_many_open_callbacks_are_counted_shown_in_part_and_listed_in_pages() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            arn = await started(served)
            token = (await peer.invocation()).checkpoint_token
            ids = [f"c{number}" for number in range(250)]
            reply = await peer.checkpoint(
                token,
                *(
                    worker_pb2.OperationUpdate(id=id_, type="CALLBACK", action="START")
                    for id_ in ids
                ),
            )
            await peer.complete(reply.checkpoint.checkpoint_token, "PENDING")
            get = client_pb2.GetExecutionRequest(execution_arn=arn)
            execution = await served.executions.GetExecution(get)
            assert [each.operation_id for each in execution.open_callbacks] == ids[:100]
            assert execution.open_callback_count == 250
            listed: list[str] = []
            marker = ""
            for size in (100, 100, 49):
                request = client_pb2.ListOpenCallbacksRequest(execution_arn=arn, marker=marker)
                page = await served.executions.ListOpenCallbacks(request)
                assert len(page.open_callbacks) == size
                marker = page.next_marker
                if not listed:
                    # Where the next page begins does not depend on what is completed meanwhile.
                    for gone in (page.open_callbacks[-1], execution.open_callbacks[0]):
                        done = client_pb2.SucceedCallbackRequest(callback_id=gone.callback_id)
                        await served.callbacks.SucceedCallback(done)
                    closed = client_pb2.SucceedCallbackRequest(
                        callback_id=(await last_callback(served, arn)).callback_id
                    )
                    await served.callbacks.SucceedCallback(closed)
                listed += [each.operation_id for each in page.open_callbacks]
            assert marker == ""
            assert listed == ids[:249]
            await served.executions.StopExecution(
                client_pb2.StopExecutionRequest(execution_arn=arn)
            )
            request = client_pb2.ListOpenCallbacksRequest(execution_arn=arn)
            assert not (await served.executions.ListOpenCallbacks(request)).open_callbacks

    run(main)


async def last_callback(served: Served, arn: str) -> model_pb2.OpenCallback:
    request = client_pb2.ListOpenCallbacksRequest(execution_arn=arn, max_items=1_000)
    return (await served.executions.ListOpenCallbacks(request)).open_callbacks[-1]


def test_a_stop_and_a_deletion_answer_with_their_times() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            arn = await started(served)
            error = model_pb2.ErrorObject(error_type="Changed", error_message="no more")
            stop = client_pb2.StopExecutionRequest(execution_arn=arn, error=error)
            stopped = await served.executions.StopExecution(stop)
            get = client_pb2.GetExecutionRequest(execution_arn=arn)
            execution = await served.executions.GetExecution(get)
            assert execution.end_timestamp == stopped.stop_timestamp
            assert execution.error == error
            assert not execution.HasField("execution_deadline_timestamp")
            delete = client_pb2.DeleteExecutionRequest(execution_arn=arn)
            first = await served.executions.DeleteExecution(delete)
            again = await served.executions.DeleteExecution(delete)
            assert first == again
            assert (await served.executions.GetExecution(get)).status == "DELETING"

    run(main)


def test_the_same_start_twice_is_one_execution() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            request = start_request(execution_name="n", input="1")
            first = await served.executions.StartExecution(request)
            again = await served.executions.StartExecution(request)
            assert (first.started, again.started) == (True, False)
            assert first.execution_arn == again.execution_arn

    run(main)


def test_a_trace_header_is_shown_to_the_worker_and_to_clients() -> None:
    async def main() -> None:
        async with serving() as served:
            peer = await Peer.connect(served, credit=1)
            answer = await served.executions.StartExecution(start_request(trace_header="Root=1"))
            assert answer.execution.trace_header == "Root=1"
            assert (await peer.invocation()).trace_header == "Root=1"
            refused = await failure_of(
                served.executions.StartExecution(start_request(trace_header="x" * 8_193))
            )
            assert "trace_header" in (refused.details() or "")

    run(main)


def test_an_execution_that_is_quarantined_shows_why_and_whoever_waits_is_told() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            bad, good = [await started(served, execution_name=name) for name in ("bad", "good")]
            executions: Any = served.history.commands
            executions._executions.quarantine.set_aside(key_of(bad), "a test says so")
            get = client_pb2.GetExecutionRequest
            described = await served.executions.GetExecution(get(execution_arn=bad))
            assert (described.execution_arn, described.execution_name) == (bad, "bad")
            assert (described.function_name, described.status) == ("f", "RUNNING")
            assert described.quarantine_details.reason == "a test says so"
            assert described.quarantine_details.quarantine_timestamp.seconds > 0
            for call in (
                served.executions.GetExecution(get(execution_arn=bad, wait_ms=1_000)),
                served.executions.StopExecution(client_pb2.StopExecutionRequest(execution_arn=bad)),
            ):
                failure = await failure_of(call)
                assert failure.code() is grpc.StatusCode.DATA_LOSS
                assert "a test says so" in (failure.details() or "")
            listed = await served.executions.ListExecutions(client_pb2.ListExecutionsRequest())
            reasons = {each.execution_arn: each.quarantine_reason for each in listed.executions}
            assert reasons == {bad: "a test says so", good: ""}
            whole = await served.executions.GetExecution(get(execution_arn=good))
            assert not whole.HasField("quarantine_details")

    run(main)


def test_what_is_quarantined_is_listed_in_pages_and_can_be_seen_as_it_is_stored() -> None:
    async def main() -> None:
        async with serving() as served:
            await Peer.connect(served)
            bad = await started(served, execution_name="bad")
            commands: Any = served.history.commands
            quarantine = commands._executions.quarantine
            quarantine.set_aside(key_of(bad), "a test says so")
            quarantine.add_row("function", "'default' 'g'", "another test does")
            marker = ""
            items: list[client_pb2.QuarantinedItem] = []
            while True:
                request = client_pb2.ListQuarantinedRequest(max_items=1, marker=marker)
                page = await served.executions.ListQuarantined(request)
                items += page.items
                marker = page.next_marker
                if not marker:
                    break
            assert sorted((each.kind, each.execution_arn, each.reason) for each in items) == [
                ("execution", bad, "a test says so"),
                ("function", "", "another test does"),
            ]
            stored = client_pb2.ListStoredRowsRequest(execution_arn=bad)
            rows = (await served.executions.ListStoredRows(stored)).rows
            assert [row.table for row in rows] == ["executions", "events", "timers"]
            stored.execution_arn = bad[:-4] + "0000"
            failure = await failure_of(served.executions.ListStoredRows(stored))
            assert failure.code() is grpc.StatusCode.NOT_FOUND

    run(main)
