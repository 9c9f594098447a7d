"""The checkpoints and the state of one invocation, as a handler's AWS SDK sees them: by boto3."""

import asyncio
import json
from typing import Any

import pytest

from perdure.worker_api import (
    CheckpointAnswer,
    CheckpointRefused,
    CheckpointUnavailable,
    InvocationLost,
)
from perdure_core.limits import CHECKPOINT_UPDATES_MAX, PAGE_ITEMS_MAX
from perdure_core.model import (
    ContextDetails,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
)
from perdure_worker.hosting.api.bridge import PAGE_BYTES_MAX
from tests.hosting.opened import (
    ARN,
    BAD_TOKEN,
    BEGAN_MS,
    INVALID,
    UPDATE,
    invocation,
    opened,
    play,
    step,
)
from tests.sdk.scripted import Scripted


def test_the_event_is_lambdas_envelope() -> None:
    async def scenario() -> None:
        async with opened(opening=invocation(step(1, '"r"'))) as served:
            token = served.bridge.token
            assert json.loads(served.bridge.event()) == {
                "DurableExecutionArn": ARN,
                "CheckpointToken": token,
                "InitialExecutionState": {
                    "Operations": [
                        {
                            "Id": "0" * 32,
                            "Type": "EXECUTION",
                            "Name": "name",
                            "Status": "STARTED",
                            "StartTimestamp": BEGAN_MS,
                            "ExecutionDetails": {"InputPayload": '{"a": 1}'},
                        },
                        {
                            "Id": "s1",
                            "Type": "STEP",
                            "Status": "SUCCEEDED",
                            "StartTimestamp": BEGAN_MS + 1_500,
                            "EndTimestamp": BEGAN_MS + 1_501,
                            "StepDetails": {"Attempt": 1, "Result": '"r"'},
                        },
                    ],
                    "NextMarker": "",
                },
                "UpdatedOperationIds": ["s1"],
            }

    play(scenario())


@pytest.mark.parametrize("payload_bytes", [10, PAGE_BYTES_MAX + 1])
def test_what_is_too_much_for_an_event_follows_in_pages(payload_bytes: int) -> None:
    async def scenario() -> None:
        steps = [step(number, "x" * 900_000) for number in range(12)]
        opening = invocation(*steps, payload="y" * payload_bytes)
        async with opened(opening=opening) as served:
            event = json.loads(served.bridge.event())
            state = event["InitialExecutionState"]
            found = [each["Id"] for each in state["Operations"]]
            assert (found == []) is (payload_bytes > PAGE_BYTES_MAX)
            pages = 0
            marker = state["NextMarker"]
            while marker:
                answer = await served.call(
                    "get_durable_execution_state",
                    DurableExecutionArn=ARN,
                    CheckpointToken=event["CheckpointToken"],
                    Marker=marker,
                    MaxItems=1_000,
                )
                found += [each["Id"] for each in answer["Operations"]]
                marker = answer.get("NextMarker")
                pages += 1
            assert found == ["0" * 32, *(f"s{number}" for number in range(12))]
            assert pages > 1

    play(scenario())


def test_a_checkpoint_is_submitted_whole_and_its_token_used_up() -> None:
    async def scenario() -> None:
        async with opened() as served:
            token = served.bridge.token
            second = {"Id": "s1", "Type": "STEP", "Action": "SUCCEED", "Payload": "1"}
            answer = await served.checkpoint(token, UPDATE, second)
            ((updates, urgent),) = served.port.calls
            assert [update.action for update in updates] == [
                OperationAction.START,
                OperationAction.SUCCEED,
            ]
            assert urgent
            assert answer["CheckpointToken"] == served.bridge.token != token
            assert answer["NewExecutionState"] == {"Operations": []}
            status, code, message = await served.refusal(served.checkpoint(token))
            assert (status, code, message.startswith(BAD_TOKEN)) == (400, INVALID, True)
            assert len(served.port.calls) == 1

    play(scenario())


def test_the_same_call_again_is_the_same_checkpoint() -> None:
    async def scenario() -> None:
        async with opened() as served:
            token = served.bridge.token
            first = await served.checkpoint(token, ClientToken="once")
            again = await served.checkpoint(token, ClientToken="once")
            assert again["CheckpointToken"] == first["CheckpointToken"]
            assert len(served.port.calls) == 1

    play(scenario())


def test_a_repeat_waits_for_the_call_that_is_under_way() -> None:
    async def scenario() -> None:
        port = HeldBack()
        async with opened(port) as served:
            token = served.bridge.token
            first = asyncio.create_task(served.checkpoint(token, ClientToken="once"))
            await port.wait_asked()
            again = asyncio.create_task(served.checkpoint(token, ClientToken="once"))
            other = await served.refusal(served.checkpoint(token, ClientToken="other"))
            assert other[2].startswith(BAD_TOKEN)
            port.resolve(None)
            assert (await first)["CheckpointToken"] == (await again)["CheckpointToken"]
            assert len(port.calls) == 1

    play(scenario())


def ended_without_outcome(update: OperationUpdate) -> Operation:
    context = update.type is OperationType.CONTEXT
    return Operation(
        id=update.id,
        type=update.type,
        status=OperationStatus.SUCCEEDED,
        started_ms=BEGAN_MS,
        details=ContextDetails() if context else StepDetails(attempt=1),
    )


class HeldBack(Scripted):
    """A port whose answers a test releases."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = asyncio.Event()

    def submit(self, updates: Any, *, urgent: bool) -> Any:
        self._asked.set()
        return super().submit(updates, urgent=False)

    async def wait_asked(self) -> None:
        await self._asked.wait()


def test_the_answer_holds_what_changed() -> None:
    class Telling(Scripted):
        def resolve(self, error: BaseException | None) -> None:
            assert self._listener is not None
            self._listener(CheckpointAnswer((step(1, "1"), step(2, "2")), revoked=False))
            super().resolve(error)

    async def scenario() -> None:
        async with opened(Telling()) as served:
            answer = await served.checkpoint(served.bridge.token)
            operations = answer["NewExecutionState"]["Operations"]
            assert [each["Id"] for each in operations] == ["s1", "s2"]
            assert operations[0]["EndTimestamp"].timestamp() == (BEGAN_MS + 1_501) / 1_000

    play(scenario())


def test_the_answer_holds_the_outcomes_that_servers_omit() -> None:
    class Omitting(Scripted):
        def resolve(self, error: BaseException | None) -> None:
            assert self._listener is not None
            (update,), _ = self.calls[-1]
            answer = (ended_without_outcome(update), step(9, "9"))
            self._listener(CheckpointAnswer(answer, revoked=False))
            super().resolve(error)

    async def scenario() -> None:
        async with opened(Omitting()) as served:
            failure = {"ErrorType": "ValueError", "ErrorMessage": "no card"}
            found: list[Any] = []
            for kind, details, outcome in (
                ("STEP", "StepDetails", {"Action": "SUCCEED", "Payload": '"r"'}),
                ("STEP", "StepDetails", {"Action": "FAIL", "Error": failure}),
                ("STEP", "StepDetails", {"Action": "RETRY", "Error": failure}),
                ("CONTEXT", "ContextDetails", {"Action": "SUCCEED", "Payload": '"r"'}),
                ("STEP", "StepDetails", {"Action": "START"}),
            ):
                update = {"Id": "s1", "Type": kind, **outcome}
                answer = await served.checkpoint(served.bridge.token, update)
                first, other = answer["NewExecutionState"]["Operations"]
                found.append((first[details].get("Result"), first[details].get("Error")))
                assert other["StepDetails"]["Result"] == "9"
            succeeded, failed = ('"r"', None), (None, failure)
            assert found == [succeeded, failed, failed, succeeded, (None, None)]

    play(scenario())


def test_a_refused_checkpoint_keeps_the_token() -> None:
    async def scenario() -> None:
        port = Scripted(CheckpointRefused("Cannot start a WAIT that already exist."))
        async with opened(port) as served:
            token = served.bridge.token
            refusal = await served.refusal(served.checkpoint(token))
            assert refusal == (400, INVALID, "Cannot start a WAIT that already exist.")
            assert "CheckpointToken" in await served.checkpoint(token)

    play(scenario())


def test_after_a_checkpoint_that_could_not_be_recorded_nothing_is() -> None:
    async def scenario() -> None:
        async with opened(Scripted(CheckpointUnavailable("disk full"))) as served:
            token = served.bridge.token
            for _ in range(2):
                status, code, message = await served.refusal(served.checkpoint(token))
                assert (status, code) == (503, "ServiceException")
                assert "disk full" in message
            assert len(served.port.calls) == 1

    play(scenario())


def test_a_turn_that_has_passed_is_an_invalid_token() -> None:
    async def scenario() -> None:
        async with opened(Scripted(InvocationLost())) as served:
            refusal = await served.refusal(served.checkpoint(served.bridge.token))
            assert refusal == (
                *(400, INVALID),
                f"{BAD_TOKEN}: this invocation now belongs to another worker",
            )

    play(scenario())


def test_a_revoked_turn_is_an_answer_without_a_token() -> None:
    async def scenario() -> None:
        async with opened(Scripted(revoked=True)) as served:
            answer = await served.checkpoint(served.bridge.token)
            assert "CheckpointToken" not in answer
            refusal = await served.refusal(served.checkpoint(served.bridge.token))
            assert refusal[2] == f"{BAD_TOKEN}: it was revoked"

    play(scenario())


def test_tokens_of_others_are_refused() -> None:
    async def scenario() -> None:
        async with opened() as served:
            token = served.bridge.token
            other = await served.refusal(
                served.call(
                    "checkpoint_durable_execution",
                    DurableExecutionArn=ARN.replace("name", "other"),
                    CheckpointToken=token,
                )
            )
            assert other[2] == f"{BAD_TOKEN}: it belongs to another execution"
            made_up = await served.refusal(served.checkpoint("QUJDRA=="))
            assert made_up[2].startswith(f"{BAD_TOKEN}: its invocation is not running here")
            served.endpoint.shut(served.bridge)
            ended = await served.refusal(served.checkpoint(token))
            assert ended[2].startswith(f"{BAD_TOKEN}: its invocation is not running here")
            assert served.port.calls == []

    play(scenario())


def test_a_checkpoint_holds_so_many_updates() -> None:
    async def scenario() -> None:
        async with opened() as served:
            many = [{**UPDATE, "Id": f"s{n}"} for n in range(CHECKPOINT_UPDATES_MAX + 1)]
            refusal = await served.refusal(served.checkpoint(served.bridge.token, *many))
            assert refusal[:2] == (400, INVALID)
            await served.checkpoint(served.bridge.token, *many[:-1])
            assert len(served.port.calls[0][0]) == CHECKPOINT_UPDATES_MAX

    play(scenario())


def test_markers_are_checked() -> None:
    async def scenario() -> None:
        async with opened() as served:
            for marker in ("x", "at-", "at--1", "at-99"):
                refusal = await served.refusal(
                    served.call(
                        "get_durable_execution_state",
                        DurableExecutionArn=ARN,
                        CheckpointToken=served.bridge.token,
                        Marker=marker,
                    )
                )
                assert refusal[:2] == (400, INVALID)

    play(scenario())


def test_a_page_holds_as_many_operations_as_asked_for() -> None:
    async def scenario() -> None:
        async with opened(opening=invocation(step(1, "1"), step(2, "2"))) as served:

            async def page(items: int) -> list[str]:
                answer = await served.call(
                    "get_durable_execution_state",
                    DurableExecutionArn=ARN,
                    CheckpointToken=served.bridge.token,
                    MaxItems=items,
                )
                return [each["Id"] for each in answer["Operations"]]

            assert await page(1) == ["0" * 32]
            assert await page(0) == await page(PAGE_ITEMS_MAX) == ["0" * 32, "s1", "s2"]
            refusal = await served.refusal(page(PAGE_ITEMS_MAX + 1))
            assert refusal == (400, INVALID, "MaxItems is 1,001; 0 to 1,000 are allowed")

    play(scenario())
