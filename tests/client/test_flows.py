"""Programs of the client when servers answer, refuse or are away; the clock is theirs alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message

from perdure.client import flows
from perdure.client.errors import (
    ClientError,
    ExecutionFailedError,
    NotFoundError,
    ResourceExhaustedError,
    ServerError,
    UnavailableError,
    WaitTimeoutError,
)
from perdure.client.requests import start_request
from perdure_proto.v1 import client_pb2, model_pb2
from tests.client.scripted_server import event, running, started, succeeded

AWAY = UnavailableError("nobody answers")
PATIENCE_S = 30.0

_Result = TypeVar("_Result")
Answer = Message | ClientError


@dataclass
class Driver:
    """Drives programs: answers come from a function, sleeping only moves the clock."""

    answer: Callable[[flows.Call], Answer]
    now_s: float = 1_000.0
    slept_s: list[float] = field(default_factory=list[float])
    sent: list[flows.Call] = field(default_factory=list[flows.Call])

    @property
    def environment(self) -> flows.ClientEnvironment:
        return flows.ClientEnvironment(
            now_s=lambda: self.now_s,
            random_unit=lambda: 1.0,
            new_name=lambda: "a-name",
            patience_s=PATIENCE_S,
        )

    def drive(self, program: flows.Program[_Result]) -> _Result:
        try:
            effect = next(program)
            while True:
                effect = self._perform(program, effect)
        except StopIteration as end:
            result: _Result = end.value
            return result

    def _perform(self, program: flows.Program[Any], effect: flows.Effect) -> flows.Effect:
        if isinstance(effect, flows.Sleep):
            self.slept_s.append(effect.seconds)
            self.now_s += effect.seconds
            return program.send(None)
        self.sent.append(effect)
        answer = self.answer(effect)
        return program.throw(answer) if isinstance(answer, ClientError) else program.send(answer)


def in_turn(*answers: Answer) -> Callable[[flows.Call], Answer]:
    left = list(answers)
    return lambda _: left.pop(0)


def always(answer: Answer) -> Callable[[flows.Call], Answer]:
    return lambda _: answer


def a_start() -> client_pb2.StartExecutionRequest:
    return start_request(
        "order", "order-1", {"id": 1}, None, execution_timeout_s=None, retention_days=None
    )


def failed() -> model_pb2.Execution:
    execution = model_pb2.Execution(execution_arn="arn:1", status="FAILED")
    execution.error.error_type = "ValueError"
    execution.error.error_message = "no such shop"
    execution.end_timestamp.FromSeconds(1)
    return execution


def test_a_start_is_sent_again_until_the_server_answers() -> None:
    driver = Driver(in_turn(AWAY, AWAY, started(running())))
    found = driver.drive(flows.start(driver.environment, a_start()))
    assert (found.execution_arn, found.started) == ("arn:1", True)
    assert [call.request for call in driver.sent] == [a_start()] * 3


def test_every_repetition_of_a_start_carries_the_same_name() -> None:
    driver = Driver(in_turn(AWAY, started(running())))
    driver.drive(flows.start(driver.environment, a_start()))
    names = {getattr(call.request, "execution_name", "") for call in driver.sent}
    assert names == {"order-1"}


def test_a_refusal_is_not_tried_again() -> None:
    driver = Driver(always(NotFoundError("no function is named order")))
    with pytest.raises(NotFoundError, match="no function is named order"):
        driver.drive(flows.start(driver.environment, a_start()))
    assert len(driver.sent) == 1


def test_a_full_server_is_asked_again() -> None:
    driver = Driver(in_turn(ResourceExhaustedError("too many"), started(running())))
    driver.drive(flows.start(driver.environment, a_start()))
    assert len(driver.sent) == 2


def test_patience_bounds_how_long_a_call_is_tried() -> None:
    driver = Driver(always(AWAY))
    with pytest.raises(UnavailableError):
        driver.drive(flows.start(driver.environment, a_start()))
    assert PATIENCE_S - flows.BACKOFF_S_MAX <= sum(driver.slept_s) <= PATIENCE_S


def test_pauses_between_tries_double_up_to_a_bound() -> None:
    pauses = [flows.backoff_s(failures, 1.0) for failures in range(8)]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert flows.backoff_s(10_000_000, 1.0) == flows.BACKOFF_S_MAX


def test_chance_takes_at_most_half_of_a_pause() -> None:
    assert flows.backoff_s(3, 0.0) == flows.backoff_s(3, 1.0) / 2


def test_an_answer_to_another_question_is_the_servers_fault() -> None:
    driver = Driver(always(model_pb2.Execution()))
    with pytest.raises(ServerError, match="expected a StartExecutionResponse, got Execution"):
        driver.drive(flows.start(driver.environment, a_start()))


def test_waiting_goes_on_through_one_long_poll_after_another() -> None:
    driver = Driver(in_turn(running(), running(), running(), succeeded("7")))
    assert driver.drive(flows.wait(driver.environment, "arn:1", None)).result == 7
    waits_ms = [getattr(call.request, "wait_ms", None) for call in driver.sent]
    assert waits_ms == [0] + [flows.LONG_POLL_MS_MAX] * 3


def test_a_try_may_last_longer_than_the_server_was_asked_to_wait() -> None:
    driver = Driver(in_turn(running(), succeeded("7")))
    driver.drive(flows.wait(driver.environment, "arn:1", None))
    assert driver.sent[1].try_s == flows.LONG_POLL_MS_MAX / 1_000 + flows.TRY_S_MAX


def test_waiting_outlives_a_server_that_is_away_longer_than_patience() -> None:
    away = [AWAY] * 100
    driver = Driver(in_turn(running(), *away, succeeded("7")))
    assert driver.drive(flows.wait(driver.environment, "arn:1", None)).result == 7
    assert sum(driver.slept_s) > PATIENCE_S


def test_waiting_for_a_server_that_never_answered_ends_with_patience() -> None:
    driver = Driver(always(AWAY))
    with pytest.raises(UnavailableError):
        driver.drive(flows.wait(driver.environment, "arn:1", None))


def test_waiting_ends_with_the_callers_time() -> None:
    driver = Driver(always(running()))

    def poll(call: flows.Call) -> Answer:
        driver.now_s += getattr(call.request, "wait_ms", 0) / 1_000
        return running()

    driver.answer = poll
    with pytest.raises(WaitTimeoutError, match=r"still RUNNING after 90.0 s: arn:1"):
        driver.drive(flows.wait(driver.environment, "arn:1", 90.0))
    assert driver.now_s == 1_090.0


def test_a_timeout_of_the_client_is_a_timeout_of_python() -> None:
    assert issubclass(WaitTimeoutError, TimeoutError)


def test_running_returns_the_result_as_a_value() -> None:
    driver = Driver(in_turn(started(running()), succeeded('{"status": "processed"}')))
    result = driver.drive(flows.run(driver.environment, a_start(), None))
    assert result == {"status": "processed"}


def test_running_what_has_ended_before_asks_nothing_more() -> None:
    driver = Driver(in_turn(started(succeeded("7"))))
    assert driver.drive(flows.run(driver.environment, a_start(), None)) == 7


def test_the_start_of_a_run_waits_for_an_end_that_is_near() -> None:
    driver = Driver(in_turn(started(succeeded("7"))))
    driver.drive(flows.run(driver.environment, a_start(), None))
    (sent,) = driver.sent
    assert isinstance(sent.request, client_pb2.StartExecutionRequest)
    assert sent.request.wait_ms == flows.START_WAIT_MS_MAX
    assert sent.try_s == flows.START_WAIT_MS_MAX / 1_000 + flows.TRY_S_MAX


def test_the_start_of_a_run_waits_no_longer_than_its_caller() -> None:
    driver = Driver(in_turn(started(succeeded("7"))))
    driver.drive(flows.run(driver.environment, a_start(), 0.25))
    assert [getattr(call.request, "wait_ms", None) for call in driver.sent] == [250]


def test_the_start_of_a_run_with_a_large_input_does_not_wait() -> None:
    driver = Driver(in_turn(started(running()), succeeded("7")))
    large = start_request(
        *("order", "order-1", "x" * flows.LARGE_CHARS_MIN, None),
        execution_timeout_s=None,
        retention_days=None,
    )
    assert driver.drive(flows.run(driver.environment, large, None)) == 7
    waits_ms = [getattr(call.request, "wait_ms", None) for call in driver.sent]
    assert waits_ms == [0, flows.LONG_POLL_MS_MAX]


def test_a_run_whose_start_broke_while_it_waited_starts_again_under_its_name() -> None:
    driver = Driver(in_turn(AWAY, started(running()), *[AWAY] * 100, succeeded("7")))
    assert driver.drive(flows.run(driver.environment, a_start(), None)) == 7
    starts = [call.request for call in driver.sent[:2]]
    assert {getattr(each, "execution_name", None) for each in starts} == {"order-1"}
    assert sum(driver.slept_s) > PATIENCE_S


def test_running_raises_what_the_execution_ended_with() -> None:
    driver = Driver(in_turn(started(failed())))
    with pytest.raises(ExecutionFailedError, match="FAILED: ValueError: no such shop") as caught:
        driver.drive(flows.run(driver.environment, a_start(), None))
    assert (caught.value.status, caught.value.error_type) == ("FAILED", "ValueError")
    assert caught.value.error_message == "no such shop"


def test_a_follower_goes_on_after_the_last_event_that_it_saw() -> None:
    driver = Driver(always(AWAY))
    history_stream = flows.HistoryStream(driver.environment, "arn:1", 0, None)
    assert history_stream.request().after_event_id == 0
    history_stream.received(event(1))
    history_stream.received(event(2))
    history_stream.disconnected(AWAY)
    assert history_stream.request().after_event_id == 2


def test_a_follower_waits_longer_each_time_until_it_hears_something() -> None:
    driver = Driver(always(AWAY))
    history_stream = flows.HistoryStream(driver.environment, "arn:1", 0, None)
    assert [history_stream.disconnected(AWAY) for _ in range(3)] == [0.05, 0.1, 0.2]
    history_stream.received(event(1))
    assert history_stream.disconnected(AWAY) == 0.05


def test_a_follower_receives_the_error_of_what_cannot_be_followed() -> None:
    driver = Driver(always(AWAY))
    history_stream = flows.HistoryStream(driver.environment, "arn:1", 0, None)
    with pytest.raises(NotFoundError):
        history_stream.disconnected(NotFoundError("no execution"))


def test_a_follower_gives_up_on_a_server_that_never_answered() -> None:
    driver = Driver(always(AWAY))
    history_stream = flows.HistoryStream(driver.environment, "arn:1", 0, None)
    driver.now_s += PATIENCE_S
    with pytest.raises(UnavailableError):
        history_stream.disconnected(AWAY)


def test_a_follower_that_has_heard_something_never_gives_up() -> None:
    driver = Driver(always(AWAY))
    history_stream = flows.HistoryStream(driver.environment, "arn:1", 0, None)
    history_stream.received(event(1))
    driver.now_s += 100 * PATIENCE_S
    assert history_stream.disconnected(AWAY) > 0


def test_following_ends_with_the_callers_time() -> None:
    driver = Driver(always(AWAY))
    history_stream = flows.HistoryStream(driver.environment, "arn:1", 0, 5.0)
    history_stream.received(event(1))
    assert history_stream.left_s() == 5.0
    driver.now_s += 5.0
    with pytest.raises(WaitTimeoutError):
        history_stream.disconnected(AWAY)


@pytest.mark.parametrize(
    ("request_type", "path"),
    [
        (client_pb2.StartExecutionRequest, "ExecutionService/StartExecution"),
        (client_pb2.FollowExecutionHistoryRequest, "ExecutionService/FollowExecutionHistory"),
        (client_pb2.ListFunctionsRequest, "ExecutionService/ListFunctions"),
        (client_pb2.SucceedCallbackRequest, "CallbackService/SucceedCallback"),
        (client_pb2.HeartbeatCallbackRequest, "CallbackService/HeartbeatCallback"),
    ],
)
def test_a_request_knows_its_call(request_type: type[Message], path: str) -> None:
    assert flows.rpc_path(request_type) == f"/perdure_proto.v1.{path}"


def test_every_call_of_the_contract_is_named_after_its_request() -> None:
    for name, service in client_pb2.DESCRIPTOR.services_by_name.items():
        for method in service.methods:
            request_type = getattr(client_pb2, method.input_type.name)
            assert flows.rpc_path(request_type) == f"/perdure_proto.v1.{name}/{method.name}"


def exhausted(retry_after_s: float) -> ResourceExhaustedError:
    error = ResourceExhaustedError("too much to do")
    error.retry_after_s = retry_after_s
    return error


def test_a_call_is_not_sent_again_before_the_server_wants_it() -> None:
    driver = Driver(in_turn(exhausted(7.0), exhausted(9.0), started(running())))
    environment = driver.environment
    assert driver.drive(flows.start(environment, a_start())).started
    assert (driver.slept_s, len(driver.sent)) == ([7.0, 9.0], 3)


def test_a_caller_whose_patience_ends_before_that_is_told_at_once() -> None:
    driver = Driver(always(exhausted(PATIENCE_S)))
    with pytest.raises(ResourceExhaustedError):
        driver.drive(flows.start(driver.environment, a_start()))
    assert (driver.slept_s, len(driver.sent)) == ([], 1)
