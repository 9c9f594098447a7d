"""The agent example: it asks a person before a dangerous action, and accepts a refusal."""

import pytest

from examples import agent_loop
from examples.agent_loop import Message, agent
from perdure.testing import DurableFunctionTestRunner, for_each_crash

TASK = {"task": "Order o-1 arrived broken."}


def approve(runner: DurableFunctionTestRunner, arn: str) -> None:
    runner.send_callback_success(runner.wait_for_callback(arn))


def test_an_approved_refund_is_made_whenever_the_worker_dies() -> None:
    results = for_each_crash(agent, TASK, drive=approve)
    for result in results:
        assert result.value["turns"] == 3
        assert "on its way back" in result.value["answer"]
        assert result.get_step("refund_order-2").value == {"order_id": "o-1", "refunded": 40}


def test_a_refused_refund_is_not_made_and_the_model_is_given_the_reason() -> None:
    with DurableFunctionTestRunner(agent) as runner:
        arn = runner.run_async(TASK)
        runner.send_callback_failure(runner.wait_for_callback(arn), "it is too late")
        result = runner.wait_for_result(arn)
    assert result.value["answer"] == "I may not give the money back: it is too late."
    assert "refund_order-2" not in [each.name for each in result.operations]


def test_silence_is_a_refusal() -> None:
    with DurableFunctionTestRunner(agent) as runner:
        result = runner.run(TASK)
    assert "nobody approved it in time" in result.value["answer"]


def test_an_unknown_tool_is_reported_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(messages: list[Message]) -> Message:
        if messages[-1]["role"] == "tool":
            return {"answer": messages[-1]["content"]["error"]}
        return {"tool": "fly", "arguments": {}}

    monkeypatch.setattr(agent_loop, "ask_model", model)
    with DurableFunctionTestRunner(agent) as runner:
        assert runner.run(TASK).value == {"answer": "there is no tool fly", "turns": 2}


def test_a_model_without_an_answer_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(_messages: list[Message]) -> Message:
        return {"tool": "find_order", "arguments": {"order_id": "o-1"}}

    monkeypatch.setattr(agent_loop, "ask_model", model)
    with DurableFunctionTestRunner(agent) as runner:
        result = runner.run(TASK)
    assert result.error is not None
    assert result.error.message == "no answer after 10 turns"
