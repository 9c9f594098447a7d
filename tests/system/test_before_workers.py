"""Orders that come before the worker: none is lost, whatever becomes of the server."""

from pathlib import Path

from tests.system.processes import Machine

SHOP = """
from perdure import durable_execution


@durable_execution(retention_days=3)
def order(event, context):
    return context.step(lambda _: event["id"] * 2, name="double")


@durable_execution
def refund(event, context):
    return -event["id"]
"""


def test_orders_before_the_first_worker_outlive_the_server(tmp_path: Path) -> None:
    shop = tmp_path / "shop.py"
    shop.write_text(SHOP)
    with Machine(tmp_path) as machine:
        machine.start_server()
        registered = machine.perdure("functions", "register", str(shop), "-o", "text")
        assert (registered.returncode, registered.stdout) == (0, "registered order, refund\n")
        with machine.client() as client:
            known = client.start("order", {"id": 21}, name="order-21")
            unknown = client.start("later", {"id": 1}, name="later-1", accept_unknown=True)
            assert known.execution.retention_days == 3
        started = machine.perdure("invoke", "later", "--accept-unknown", "--detach", "--name", "x")
        assert started.returncode == 0
        machine.kill("server")
        machine.start_server()
        with machine.client() as client:
            assert [each.function_name for each in client.list_functions()] == ["order", "refund"]
            assert not client.start("order", {"id": 21}, name="order-21").started
            shop.write_text(SHOP + "\n\nlater = durable_execution(order.handler, name='later')\n")
            machine.start_worker(shop)
            assert client.result(known.execution_arn, timeout_s=60) == 42
            assert client.result(unknown.execution_arn, timeout_s=60) == 2
            assert client.run("refund", {"id": 3}, timeout_s=60) == -3
