"""Hostile gRPC calls: bytes and messages made by seeded dice, unary and as streams.

Many of them name things that exist, so that they come further than the first check.
"""

import asyncio
import random
from collections import Counter
from typing import Any, Final, cast

import grpc
import grpc.aio
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from perdure_proto.v1 import client_pb2, client_pb2_grpc, worker_pb2, worker_pb2_grpc
from perdure_worker.session.call_status import CallStatus

AT_ONCE: Final = 20
# Some calls wait for something that never comes; refusals do not.
CALL_S_MAX: Final = 0.2
REFUSAL_S_MAX: Final = 60.0
# HandOver would end the node of the test.
METHODS: Final[list[MethodDescriptor]] = [
    method
    for file in (client_pb2, worker_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
TEXTS: Final = ["", "f", "a", "\0", "é", "😀", "/", "-1", "9" * 30, "null", "{}", "x" * 300]
NUMBERS: Final = [
    *(0, 1, 1, 1, 5, 60, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**32 - 1, 2**64 - 1)
]
BOUNDS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
WORDS: Final = {
    "type": ["STEP", "WAIT", "CALLBACK", "CONTEXT", "CHAINED_INVOKE", "EXECUTION"],
    "action": ["START", "SUCCEED", "FAIL", "RETRY", "CANCEL"],
    "status": ["SUCCEEDED", "FAILED", "PENDING"],
    "statuses": ["RUNNING", "SUCCEEDED"],
    "id": ["a", "b", "c"],
}
# What grpcio raises for a call that the server has ended meanwhile.
_ENDED: Final = (
    grpc.aio.AioRpcError,
    grpc.aio.InternalError,
    asyncio.InvalidStateError,
    asyncio.CancelledError,
)


class Dice:
    """Makes calls."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        # What exists, by names of fields.
        self.places: dict[str, list[str]] = {}

    def call(self) -> tuple[MethodDescriptor, list[bytes]]:
        """Return a method, and what is sent to it."""
        method = self._dice.choice(METHODS)
        count = self._dice.randrange(1, 4) if method.client_streaming else 1
        return method, [self._request(method, place) for place in range(count)]

    def _request(self, method: MethodDescriptor, place: int) -> bytes:
        if self._happens(0.1):
            return self._dice.randbytes(self._dice.randrange(200))
        message = GetMessageClass(method.input_type)()
        if method.client_streaming and place == 0 and self._happens(0.7):
            cast("Any", message).register.CopyFrom(self._registration())
        else:
            self._fill(message, depth=0)
        content = message.SerializeToString()
        if not content or not self._happens(0.1):
            return content
        at = self._dice.randrange(len(content))
        return content[:at] + self._dice.randbytes(1) + content[at + self._dice.randrange(2) :]

    def _registration(self) -> worker_pb2.RegisterRequest:
        function = worker_pb2.FunctionDefinition(function_name="g", durable=self._happens(0.5))
        return worker_pb2.RegisterRequest(
            worker_id=self._dice.choice(["h", "i"]),
            functions=[function],
            slots=4,
            claims=self.places.get("checkpoint_token", []) if self._happens(0.3) else [],
        )

    def _fill(self, message: Message, depth: int) -> None:
        chosen = [self._dice.choice(each.fields) for each in message.DESCRIPTOR.oneofs]
        for field in message.DESCRIPTOR.fields:
            if depth > 3 or self._happens(0.3):
                continue
            if field.containing_oneof is not None and field not in chosen:
                continue
            if field.is_repeated:
                self._fill_repeated(message, field, depth)
            elif field.type == FieldDescriptor.TYPE_MESSAGE:
                getattr(message, field.name).SetInParent()
                self._fill(getattr(message, field.name), depth + 1)
            else:
                setattr(message, field.name, self._value(field))

    def _fill_repeated(self, message: Message, field: Any, depth: int) -> None:
        values: Any = getattr(message, field.name)
        for _ in range(self._dice.randrange(3)):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                self._fill(values.add(), depth + 1)
            else:
                values.append(self._value(field))

    def _value(self, field: Any) -> Any:
        known = self.places.get(field.name) or WORDS.get(field.name)
        if known and self._happens(0.8):
            return self._dice.choice(known)
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                return self._dice.choice(TEXTS)
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._happens(0.5)
            case kind:
                low, high = BOUNDS[kind]
                return self._dice.choice([each for each in NUMBERS if low <= each <= high])

    def _happens(self, share: float) -> bool:
        return self._dice.random() < share


class Targets:
    """Executions that hostile calls may reach: running, with an open callback."""

    def __init__(self, channel: grpc.aio.Channel, dice: Dice) -> None:
        self._executions: Any = client_pb2_grpc.ExecutionServiceStub(channel)
        self._workers: Any = worker_pb2_grpc.WorkerServiceStub(channel)
        self._dice = dice
        self._count = 0

    async def suspended(self) -> str:
        """Start one that waits for its callback alone; return its ARN."""
        arn = await self.renew()
        last = self._dice.places["checkpoint_token"][-1]
        await self._workers.Complete(
            worker_pb2.CompleteRequest(checkpoint_token=last, status="PENDING")
        )
        return arn

    async def renew(self) -> str:
        """Start another one, and give its names to the dice; return its ARN."""
        self._count += 1
        name = f"target-{self._count}"
        function = worker_pb2.FunctionDefinition(function_name=name, durable=True)
        await self._workers.Register(
            worker_pb2.RegisterRequest(worker_id=name, functions=[function], slots=1)
        )
        request = client_pb2.StartExecutionRequest(function_name=name)
        arn: str = (await self._executions.StartExecution(request)).execution_arn
        poll = worker_pb2.PollRequest(worker_id=name, max_invocations=1, wait_ms=10_000)
        (invocation,) = (await self._workers.Poll(poll)).invocations
        opened = worker_pb2.OperationUpdate(id="c", type="CALLBACK", action="START")
        answer = await self._workers.Checkpoint(
            worker_pb2.CheckpointRequest(
                checkpoint_token=invocation.checkpoint_token, updates=[opened], client_token="once"
            )
        )
        asked = next(each for each in answer.operations if each.id == "c")
        tokens = [invocation.checkpoint_token, answer.checkpoint_token]
        self._dice.places = {
            "execution_arn": [arn],
            "function_name": [name],
            "worker_id": [name],
            "invocation_ids": [invocation.invocation_id],
            "checkpoint_token": tokens,
            "checkpoint_tokens": tokens,
            "claims": tokens,
            "callback_id": [asked.callback_details.callback_id],
        }
        return arn


async def status_sent(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    requests: list[bytes],
    call_s: float,
    token: str | None,
) -> grpc.StatusCode:
    """Send the requests and close the sending side; return the status that the server sent."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    multi_callable = cast("Any", channel).stream_stream(path)
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    call = multi_callable(timeout=call_s, metadata=metadata)
    # A write that meets the end of the call puts INTERNAL in place of what the server sent.
    status = CallStatus(call)
    try:
        for request in requests:
            await call.write(request)
        await call.done_writing()
        async for _ in call:
            pass
    except _ENDED:
        pass  # the status tells
    return (await status.received())[0]


async def hail(
    address: str, dice: Dice, count: int, *, token: str | None, call_s: float = CALL_S_MAX
) -> Counter[str]:
    """Send so many calls; return how often each status was the answer, by method and status."""
    answers = Counter[str]()
    async with grpc.aio.insecure_channel(address) as channel:
        for _ in range(0, count, AT_ONCE):
            calls = [dice.call() for _ in range(AT_ONCE)]
            codes = await asyncio.gather(
                *(status_sent(channel, *call, call_s, token) for call in calls)
            )
            answers.update(
                f"{method.name} {code.name}" for (method, _), code in zip(calls, codes, strict=True)
            )
    return answers
