"""Programs of the client that retry and wait: start, run, wait, follow. They do no I/O.

A program is a generator. It yields a Call or a Sleep, the client performs it and sends the answer
in (or throws the ClientError in), and the return value of the program is the result. So there is
one implementation of retrying and waiting, for both clients, and tests drive it with a clock of
their own.

Every call of the contract may be sent again, hence UNAVAILABLE is retried until the caller's
timeout, or the client's `patience_s`, is over. So is RESOURCE_EXHAUSTED, and not before the server
wants to be asked again. While it refuses starts, a client holds back most of its own.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from perdure.client.errors import (
    ClientError,
    ExecutionFailedError,
    ResourceExhaustedError,
    ServerError,
    UnavailableError,
    WaitTimeoutError,
)
from perdure.client.models import (
    ExecutionDescription,
    HistoryEvent,
    StartedExecution,
    read_event,
    read_execution,
)
from perdure.client.throttle import StartThrottle
from perdure_host.backoff import backoff_ms
from perdure_proto.v1 import client_pb2, model_pb2

PATIENCE_S_DEFAULT: Final = 30.0
# How long one attempt may take, beyond the time that it asks the server to wait.
TRY_S_MAX: Final = 15.0
# A slower connection cannot send large payloads.
UPLOAD_BYTES_PER_S_MIN: Final = 1_048_576
# A larger input is received once, and then again only with the end.
LARGE_CHARS_MIN: Final = 1_048_576
# How long a start of `run` waits for the end, which saves most executions the second call. Short,
# because a start that was not answered may not have started anything worth waiting for.
START_WAIT_MS_MAX: Final = 1_000
# One long poll; short enough that a silent network is noticed, long enough to cost nothing.
LONG_POLL_MS_MAX: Final = 60_000
BACKOFF_S_MAX: Final = 2.0

_Answer = TypeVar("_Answer", bound=Message)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Call:
    """Effect: send this request once, with this timeout in seconds."""

    request: Message
    answer_type: type[Message]
    try_s: float

    @property
    def path(self) -> str:
        """The path of the remote call, which the contract names after its request."""
        return rpc_path(type(self.request))


@dataclass(frozen=True, slots=True)
class Sleep:
    """Effect: sleep for so many seconds."""

    seconds: float


Effect = Call | Sleep
Program = Generator[Effect, Message | None, _Result]


@dataclass(frozen=True, slots=True)
class ClientEnvironment:
    """Clock, randomness and names, as programs need them."""

    # Seconds, never going back.
    now_s: Callable[[], float]
    # From 0 to 1.
    random_unit: Callable[[], float]
    new_name: Callable[[], str]
    # How long a call without a timeout of its own is retried.
    patience_s: float = PATIENCE_S_DEFAULT
    # That of all starts of the client.
    throttle: StartThrottle = field(default_factory=StartThrottle)


def rpc_path(request_type: type[Message]) -> str:
    """Return the path of the remote call that takes this request."""
    name = request_type.DESCRIPTOR.name.removesuffix("Request")
    service = "CallbackService" if name.endswith("Callback") else "ExecutionService"
    return f"/perdure_proto.v1.{service}/{name}"


def serialize(message: Message) -> bytes:
    """Return the message as bytes."""
    return message.SerializeToString()


def backoff_s(failures: int, random_unit: float) -> float:
    """Return how long to wait after one failure more than `failures` in a row."""
    return backoff_ms(failures + 1, random_unit, ms_max=int(BACKOFF_S_MAX * 1_000)) / 1_000


def retry_s(error: ClientError, failures: int, random_unit: float) -> float:
    """Return how long to wait after an error: at least as long as a server that refused wants."""
    delay_s = backoff_s(failures, random_unit)
    # Who is unavailable may be back, or another in its place, before it knows itself.
    if isinstance(error, ResourceExhaustedError) and error.retry_after_s is not None:
        return max(delay_s, error.retry_after_s)
    return delay_s


def call(
    environment: ClientEnvironment,
    request: Message,
    answer_type: type[_Answer],
    *,
    give_up_at_s: float | None = None,
    server_waits_s: float = 0.0,
) -> Program[_Answer]:
    """Send a request until it is answered; raise the last error when it cannot be."""
    give_up_at_s = (
        environment.now_s() + environment.patience_s if give_up_at_s is None else give_up_at_s
    )
    try_s = TRY_S_MAX + request.ByteSize() // UPLOAD_BYTES_PER_S_MIN
    throttle = environment.throttle
    is_start = isinstance(request, client_pb2.StartExecutionRequest)
    for failures in count():  # ends at give_up_at_s, which may be never
        try:
            if is_start:
                throttle.check(environment.now_s(), environment.random_unit)
            answer = yield Call(request, answer_type, try_s + server_waits_s)
        except (UnavailableError, ResourceExhaustedError) as error:
            if is_start and isinstance(error, ResourceExhaustedError):
                throttle.refused(error, environment.now_s())
            delay_s = retry_s(error, failures, environment.random_unit())
            if environment.now_s() + delay_s >= give_up_at_s:
                raise
            yield Sleep(delay_s)
        else:
            if is_start:
                throttle.accepted(environment.now_s())
            if not isinstance(answer, answer_type):
                raise ServerError(f"expected a {answer_type.__name__}, got {type(answer).__name__}")
            return answer
    raise AssertionError  # count() does not end


def start(
    environment: ClientEnvironment, request: client_pb2.StartExecutionRequest
) -> Program[StartedExecution]:
    """Start an execution, or return the one that an equal start created."""
    waits_s = request.wait_ms / 1_000
    answer = yield from call(
        environment, request, client_pb2.StartExecutionResponse, server_waits_s=waits_s
    )
    return StartedExecution(
        execution_arn=answer.execution_arn,
        started=answer.started,
        execution=read_execution(answer.execution),
    )


def wait(
    environment: ClientEnvironment,
    execution_arn: str,
    timeout_s: float | None,
    *,
    answered: bool = False,
) -> Program[ExecutionDescription]:
    """Return the execution once it has ended; without a timeout this may take years.

    `patience_s` bounds only the first answer. A server that is unavailable afterwards is waited
    for, since the execution outlives it.
    """
    give_up_at_s = inf if timeout_s is None else environment.now_s() + timeout_s
    # A large input is not received again with each answer before the end.
    without_data = False
    while True:  # ends with the execution, or with the caller's time
        wait_ms = _long_poll_ms(give_up_at_s - environment.now_s()) if answered else 0
        request = client_pb2.GetExecutionRequest(
            execution_arn=execution_arn, wait_ms=wait_ms, exclude_execution_data=without_data
        )
        message = yield from call(
            environment,
            request,
            model_pb2.Execution,
            give_up_at_s=give_up_at_s if answered or timeout_s is not None else None,
            server_waits_s=wait_ms / 1_000,
        )
        answered = True
        execution = read_execution(message)
        if execution.ended and not without_data:
            return execution
        large = len(message.input) > LARGE_CHARS_MIN
        without_data = not execution.ended and (without_data or large)
        if not execution.ended and environment.now_s() >= give_up_at_s:
            raise WaitTimeoutError(f"still {execution.status} after {timeout_s} s: {execution_arn}")


def run(
    environment: ClientEnvironment,
    request: client_pb2.StartExecutionRequest,
    timeout_s: float | None,
) -> Program[Any]:
    """Start an execution and return its result; the start itself waits briefly for the end.

    `patience_s` bounds the first answer, so when the server becomes unavailable while the start
    waits, the start is retried for that long only.
    """
    give_up_at_s = inf if timeout_s is None else environment.now_s() + timeout_s
    # The server would hold a large input in memory meanwhile.
    if request.ByteSize() <= LARGE_CHARS_MIN:
        request.wait_ms = min(START_WAIT_MS_MAX, _long_poll_ms(give_up_at_s - environment.now_s()))
    started = yield from start(environment, request)
    if started.execution.ended:
        return result_of(started.execution)
    left_s = None if timeout_s is None else max(0.0, give_up_at_s - environment.now_s())
    waiting = wait(environment, started.execution_arn, left_s, answered=True)
    return result_of((yield from waiting))


def result_of(execution: ExecutionDescription) -> Any:
    """Return the result of an ended execution, or raise its error."""
    if execution.status == "SUCCEEDED":
        return execution.result
    error = execution.error
    raise ExecutionFailedError(
        execution_arn=execution.execution_arn,
        status=execution.status,
        error_type=error.error_type if error else None,
        error_message=error.error_message if error else None,
        error_data=error.error_data if error else None,
        stack_trace=error.stack_trace if error else (),
    )


class HistoryStream:
    """Position in a followed history, so that a broken stream continues after the last event.

    The client opens a stream for `request()`, passes each message to `received`, and sleeps for the
    time that `disconnected` returns when the stream breaks. A stream that ends by itself is
    complete. `patience_s` bounds only the first answer, as it does for `wait`.
    """

    def __init__(
        self,
        environment: ClientEnvironment,
        execution_arn: str,
        after_event_id: int,
        timeout_s: float | None,
    ) -> None:
        self._environment = environment
        self._arn = execution_arn
        self._last_event_id = after_event_id
        self._give_up_at_s = inf if timeout_s is None else environment.now_s() + timeout_s
        self._first_answer_by_s = (
            environment.now_s() + environment.patience_s if timeout_s is None else inf
        )
        self._failures = 0

    def request(self) -> client_pb2.FollowExecutionHistoryRequest:
        """Return the request for all events after the last one received."""
        return client_pb2.FollowExecutionHistoryRequest(
            execution_arn=self._arn, after_event_id=self._last_event_id
        )

    def left_s(self) -> float | None:
        """Return how long the stream may last, in seconds; None for no limit."""
        if self._give_up_at_s == inf:
            return None
        return max(0.0, self._give_up_at_s - self._environment.now_s())

    def received(self, message: model_pb2.Event) -> HistoryEvent:
        """Note the position of an event, and return the event."""
        self._last_event_id = message.event_id
        self._failures = 0
        self._first_answer_by_s = inf
        return read_event(message)

    def disconnected(self, error: ClientError) -> float:
        """Return how long to sleep before the next stream; raise when it must not be reopened."""
        now_s = self._environment.now_s()
        if now_s >= self._give_up_at_s:
            raise WaitTimeoutError(f"the execution has not ended: {self._arn}") from error
        if not isinstance(error, UnavailableError | ResourceExhaustedError):
            raise error
        if now_s >= self._first_answer_by_s:
            raise error
        delay_s = retry_s(error, self._failures, self._environment.random_unit())
        self._failures += 1
        return min(delay_s, self._give_up_at_s - now_s)


def _long_poll_ms(left_s: float) -> int:
    return int(min(LONG_POLL_MS_MAX, max(0.0, left_s * 1_000)))
