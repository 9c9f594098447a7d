"""A real gRPC server with scripted answers, for claims about what a client sends and survives.

It speaks the contract over real sockets, but decides nothing. Behaviour of the real server is
claimed elsewhere.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message

from perdure_host.channel import REASON_KEY
from perdure_proto.v1 import client_pb2, model_pb2

Answer = Message | grpc.StatusCode | tuple[grpc.StatusCode, str]


@dataclass
class Script:
    """The answers to send, in order, and the requests received."""

    answers: list[Answer] = field(default_factory=list[Answer])
    streams: list[list[Answer]] = field(default_factory=list[list[Answer]])
    requests: list[Message] = field(default_factory=list[Message])
    tokens: list[str | None] = field(default_factory=list[str | None])

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the gRPC handler that serves the script."""
        unary = {
            name: grpc.unary_unary_rpc_method_handler(
                self._answer,
                request_deserializer=getattr(client_pb2, f"{name}Request").FromString,
                response_serializer=serialize,
            )
            for name in (
                *("StartExecution", "GetExecution", "ListExecutions"),
                *("ListQuarantined", "ListStoredRows"),
            )
        }
        follow = grpc.unary_stream_rpc_method_handler(
            self._stream,
            request_deserializer=client_pb2.FollowExecutionHistoryRequest.FromString,
            response_serializer=serialize,
        )
        return grpc.method_handlers_generic_handler(
            "perdure_proto.v1.ExecutionService", {**unary, "FollowExecutionHistory": follow}
        )

    def _stream(self, request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
        self._record(request, context)
        yield from (reply_or_abort(answer, context) for answer in self.streams.pop(0))

    def _answer(self, request: Message, context: grpc.ServicerContext) -> Message:
        self._record(request, context)
        return reply_or_abort(self.answers.pop(0), context)

    def _record(self, request: Message, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        metadata = dict(context.invocation_metadata())
        token = metadata.get("authorization")
        self.tokens.append(None if token is None else str(token))


def reply_or_abort(answer: Answer, context: grpc.ServicerContext) -> Message:
    """Return the message, or abort the call with the status."""
    if isinstance(answer, tuple):
        answer, reason = answer
        context.set_trailing_metadata(((REASON_KEY, reason),))
    if isinstance(answer, grpc.StatusCode):
        context.abort(answer, "as scripted")
    return answer


def serialize(message: Message) -> bytes:
    """Return the bytes of the message."""
    return message.SerializeToString()


@contextmanager
def serving(script: Script, credentials: grpc.ServerCredentials | None = None) -> Generator[str]:
    """Serve the script; yield the address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((script.handler(),))
    address = "127.0.0.1:0"
    port = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def running(arn: str = "arn:1") -> model_pb2.Execution:
    """Return an execution that goes on."""
    return model_pb2.Execution(execution_arn=arn, status="RUNNING")


def succeeded(result: str, arn: str = "arn:1") -> model_pb2.Execution:
    """Return an execution that has ended well."""
    execution = model_pb2.Execution(execution_arn=arn, status="SUCCEEDED", result=result)
    execution.end_timestamp.FromSeconds(1)
    return execution


def started(execution: model_pb2.Execution) -> client_pb2.StartExecutionResponse:
    """Return the answer to a start."""
    return client_pb2.StartExecutionResponse(
        execution_arn=execution.execution_arn, started=True, execution=execution
    )


def event(event_id: int, event_type: str = "StepStarted") -> model_pb2.Event:
    """Return an event."""
    return model_pb2.Event(event_id=event_id, event_type=event_type)
