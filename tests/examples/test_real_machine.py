"""Examples on a real server and real workers, which are killed on the way."""

from pathlib import Path
from typing import Final

import pytest

from perdure import Client
from perdure.client import ExecutionDescription
from tests.system.processes import ROOT, Machine, wait_until

EXAMPLES: Final = ROOT / "examples"
END_S_MAX: Final = 90.0


def serve(machine: Machine, program: Path, function: str) -> None:
    machine.start_server()
    machine.start_worker(program)
    machine.wait_for_worker(function)


def wait_for_callback(client: Client, arn: str) -> ExecutionDescription:
    wait_until(lambda: client.get(arn).waiting_for == "callback", "it waits for a callback")
    return client.get(arn)


def test_an_order_is_approved_after_its_worker_was_killed(machine: Machine) -> None:
    program = EXAMPLES / "order_with_approval.py"
    serve(machine, program, "order_with_approval")
    with machine.client() as client:
        order = {"order_id": "o-1", "amount": 120}
        arn = client.start("order_with_approval", order).execution_arn
        (callback,) = wait_for_callback(client, arn).open_callbacks
        machine.kill("worker")
        client.succeed_callback(callback.callback_id, {"approved": True})
        machine.start_worker(program)
        shipped = {"order_id": "o-1", "status": "shipped", "parcel": "parcel-o-1"}
        assert client.result(arn, timeout_s=END_S_MAX) == shipped


@pytest.mark.slow
def test_a_fan_out_goes_on_after_its_worker_was_killed(machine: Machine) -> None:
    program = EXAMPLES / "fan_out.py"
    serve(machine, program, "resize_all")
    with machine.client() as client:
        batch = {"pictures": 1_000, "broken_every": 100}
        arn = client.start("resize_all", batch).execution_arn
        wait_until(lambda: client.get(arn).event_count > 1_000, "some pictures are resized")
        machine.kill("worker")
        machine.start_worker(program)
        result = client.result(arn, timeout_s=END_S_MAX)
        resized = [
            event.name
            for event in client.history(arn)
            if event.event_type == "ContextSucceeded" and event.name != "resize-all"
        ]
    assert result["resized"] == 990
    assert len(result["broken"]) == 10
    assert len(resized) == len(set(resized)) == 990
