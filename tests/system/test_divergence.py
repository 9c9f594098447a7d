"""Code that does not match a history: the execution pauses, and goes on once the code is fixed."""

import json
from pathlib import Path

from tests.system.processes import Machine, wait_until

PROGRAM = """
from perdure import DurableContext, durable_execution


@durable_execution
def order(event: str, context: DurableContext) -> str:
    paid = context.step(lambda _: "paid", name="charge")
    answer = context.create_callback(name="approval").result()
    return f"{paid} {answer}"
"""


def test_code_that_differs_pauses_the_execution_until_it_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "order.py"
    with Machine(tmp_path) as machine:
        machine.start_server()

        def serve(code: str) -> None:
            file.write_text(code)
            machine.start_worker(file)
            machine.wait_for_worker("order")

        serve(PROGRAM)
        with machine.client() as client:
            arn = client.start("order", "o-1", name="o-1").execution_arn
            wait_until(lambda: client.get(arn).waiting_for == "callback", "approval is awaited")
            machine.kill("worker")
            serve(PROGRAM.replace('"charge"', '"refund"'))
            callback_id = client.get(arn).open_callbacks[0].callback_id
            client.succeed_callback(callback_id, result_text="yes")
            wait_until(lambda: client.get(arn).status == "PAUSED", "the difference is noticed")
            output = machine.perdure("executions", "get", arn).stdout
            assert "because a replay of the code diverged from the history" in output
            assert "recorded:  STEP (Step) 'charge'" in output
            assert f"requested: STEP (Step) 'refund', at {file}:7" in output
            assert "PAUSED (diverged)" in machine.perdure("executions", "list").stdout
            (listed,) = json.loads(machine.perdure("executions", "list", "--output", "json").stdout)
            assert (listed["status"], listed["diverged"]) == ("PAUSED", True)
            machine.kill("worker")
            serve(PROGRAM)
            assert machine.perdure("executions", "resume", arn).returncode == 0
            assert client.wait(arn, timeout_s=20).result == "paid yes"
            assert [each.diverged for each in client.list_executions()] == [False]
            types = [event.event_type for event in client.history(arn)]
    assert types.count("StepStarted") == 1
    assert types[-4:] == [
        "ExecutionPaused",
        "ExecutionResumed",
        "InvocationCompleted",
        "ExecutionSucceeded",
    ]


ASYNC_PROGRAM = """
from perdure import AsyncDurableContext, durable_execution


@durable_execution
async def order(event: str, context: AsyncDurableContext) -> str:
    paid = await context.step(lambda _: "paid", name="charge")
    answer = await (await context.create_callback(name="approval")).result()
    return f"{paid} {answer}"
"""
SHORTER = """
from perdure import AsyncDurableContext, durable_execution


@durable_execution
async def order(event: str, context: AsyncDurableContext) -> str:
    return await context.step(lambda _: "paid", name="charge")
"""


def test_an_async_handler_that_asks_for_less_pauses_the_execution(tmp_path: Path) -> None:
    file = tmp_path / "order.py"
    with Machine(tmp_path) as machine, machine.client() as client:
        machine.start_server()
        file.write_text(ASYNC_PROGRAM)
        machine.start_worker(file)
        machine.wait_for_worker("order")
        arn = client.start("order", "o-1").execution_arn
        wait_until(lambda: client.get(arn).waiting_for == "callback", "approval is awaited")
        machine.kill("worker")
        file.write_text(SHORTER)
        machine.start_worker(file)
        client.succeed_callback(client.get(arn).open_callbacks[0].callback_id, result_text="yes")
        wait_until(lambda: client.get(arn).status == "PAUSED", "the difference is noticed")
        pause = client.get(arn).pause
        assert pause is not None
        assert pause.diverged
        *_, event = client.history(arn)
        assert (event.event_type, event.wire.diverged) == ("ExecutionPaused", True)
        assert machine.metrics().value("perdure_invocations_total", outcome="diverged") == 1
        assert "diverged" in machine.perdure("executions", "get", arn).stdout
        machine.kill("worker")
        client.resume(arn)
        client.pause(arn, reason="lunch")
        wait_until(lambda: client.get(arn).status == "PAUSED", "it is paused by an operator")
        lunch = client.get(arn).pause
        assert lunch is not None
        assert not lunch.diverged
        assert "recorded:  CALLBACK (Callback) 'approval'" in (pause.reason or "")
        assert "the handler returns" in (pause.reason or "")
