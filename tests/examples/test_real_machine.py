"""Examples on a real server and real workers, which are killed meanwhile."""

import ast
import re
import shlex
from pathlib import Path
from typing import Final

from perdure import Client
from perdure.client import ExecutionDescription
from tests.examples.sites import serving_folder
from tests.system.processes import ROOT, Machine, wait_until

EXAMPLES: Final = ROOT / "examples"
END_S_MAX: Final = 90.0
PROGRAMS: Final = [
    EXAMPLES / f"{name}.py"
    for name in (
        *("order_with_approval", "saga", "fan_out"),
        *("poll_job", "agent_loop", "chained_services", "web_scraper"),
    )
]
SITE: Final = "http://127.0.0.1:8700"  # where the scraper's first lines have one
ADVICE: Final = re.compile(r"perdure (callbacks succeed \S+ --result '.*?')")


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
        wait_for_callback(client, arn)
        machine.kill("worker")
        (advice,) = ADVICE.findall((machine.folder / "worker.log").read_text())
        assert machine.perdure(*shlex.split(advice)).returncode == 0
        machine.start_worker(program)
        shipped = {"order_id": "o-1", "status": "shipped", "parcel": "parcel-o-1"}
        assert client.result(arn, timeout_s=END_S_MAX) == shipped


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


def test_the_commands_in_the_examples_work(machine: Machine) -> None:
    machine.start_server()
    machine.start_worker(*PROGRAMS)
    machine.wait_for_worker("book_trip")
    commands = [command for program in PROGRAMS for command in invocations(program)]
    with serving_folder(EXAMPLES / "site") as site, machine.client() as client:
        commands = [[word.replace(SITE, site) for word in command] for command in commands]
        started = [machine.perdure(*command, "--detach") for command in commands]
        assert [answer.stderr for answer in started] == [""] * len(commands)

        def have_come_as_far_as_they_can() -> bool:
            running = client.list_executions(statuses=["RUNNING"])
            waiting = [client.get(each.execution_arn).waiting_for for each in running]
            return all(each in {"callback", "timer"} for each in waiting)

        wait_until(have_come_as_far_as_they_can, "every example has ended or waits")
        failed = client.list_executions(statuses=["FAILED"])
        # Too many broken pictures, and a payment that its checkout lives without.
        assert sorted(each.function_name for each in failed) == ["payment", "resize_all"]
        (scraped,) = client.list_executions(function_name="scrape")
        titles = client.result(scraped.execution_arn)["titles"].values()
        assert list(titles) == ["Garden", "Herbs", "Trees", "Thyme"]


def invocations(program: Path) -> list[list[str]]:
    """Return the `perdure invoke` commands of an example's docstring, without their first word."""
    docstring = ast.get_docstring(ast.parse(program.read_text())) or ""
    lines = [line.strip() for line in docstring.splitlines()]
    return [
        [word for word in shlex.split(line)[1:] if word != "--detach"]
        for line in lines
        if line.startswith("perdure invoke ")
    ]
