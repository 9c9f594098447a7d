"""Payloads of 64 MiB, through real servers, workers and clients, on both databases."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest
import sqlalchemy

from perdure.client import Client, InvalidArgumentError
from tests.system.large_program import ITEMS, SIZE, digest, large
from tests.system.ledger import LEDGER_VARIABLE, Reader
from tests.system.processes import ROOT, Machine, raised, wait_until

PROGRAM: Final = ROOT / "tests" / "system" / "large_program.py"
END_S_MAX: Final = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def stocked(db_url: str, tmp_path: Path) -> Iterator[Machine]:
    """A machine on each of the databases, with the functions that move large values."""
    environment = {LEDGER_VARIABLE: str(tmp_path / "ledger")}
    with Machine(tmp_path, db_url, environment=environment) as machine:
        machine.start_server()
        machine.start_worker(PROGRAM)
        machine.wait_for_worker("takes_large")
        yield machine
        print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def payload_sizes(machine: Machine) -> list[int]:
    """Return the size of every payload that stands beside the history."""
    return rows(machine, "SELECT length(body) FROM payloads ORDER BY 1")


def wait_until_asking(client: Client, arn: str) -> None:
    def is_asking() -> bool:
        return client.get(arn, include_data=False).waiting_for == "callback"

    wait_until(is_asking, "it asks", within_s=END_S_MAX)


def largest_record(machine: Machine) -> int:
    """Return the size of the largest row of events or of the outbox."""
    (largest,) = rows(machine, "SELECT max(length(body)) FROM events")
    return largest


def rows(machine: Machine, statement: str) -> list[int]:
    if machine.db_url.startswith("sqlite"):
        path = sqlalchemy.make_url(machine.db_url).database
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return [row[0] for row in connection.execute(statement)]
    url = sqlalchemy.make_url(machine.db_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as driver:
        return [row[0] for row in driver.execute(statement.encode())]


def test_a_result_as_large_as_may_be_is_kept_once_and_returned_whole(
    stocked: Machine, record_property: Callable[[str, object], None]
) -> None:
    with stocked.client() as client:
        arn = client.start("returns_large", "seed").execution_arn
        result = client.result(arn, timeout_s=END_S_MAX)
        assert result == large("seed")
        # The step's, the context's and the execution's are one.
        assert payload_sizes(stocked) == [SIZE]
        assert largest_record(stocked) < 1_000
        assert [entry.what for entry in Reader(stocked.folder / "ledger").new()] == ["body"]
        # Who does not ask for data gets none, and pages go on whatever their events hold.
        bare = client.get(arn, include_data=False)
        assert (bare.status, bare.result_text) == ("SUCCEEDED", None)
        results = [event.result_text for event in client.history(arn)]
        assert [json.loads(text) == result for text in results if text is not None] == [True] * 3
        client.delete(arn)
        wait_until(lambda: payload_sizes(stocked) == [], "its payload is gone")


def test_a_result_too_large_to_be_kept_is_made_again_from_children_that_do_not_run_again(
    stocked: Machine,
) -> None:
    with stocked.client() as client:
        arn = client.start("outgrows", "seed").execution_arn
        wait_until_asking(client, arn)
        # Nothing is left of it but what is recorded.
        stocked.kill("worker")
        stocked.kill("server")
        stocked.start_server()
        stocked.start_worker(PROGRAM)
        (callback,) = client.get(arn).open_callbacks
        client.succeed_callback(callback.callback_id, result_text="yes")
        value = large("firstsecond") + "x"
        result = client.result(arn, timeout_s=END_S_MAX)
        assert result == [SIZE - 1, digest(value), "yes"]
        contexts = [each for each in client.history(arn) if each.event_type == "ContextSucceeded"]
    assert [(each.name, each.wire.replay_children, each.result_text) for each in contexts] == [
        ("large", True, "")
    ]
    assert payload_sizes(stocked) == []
    done = Counter(entry.what for entry in Reader(stocked.folder / "ledger").new())
    assert (done["first"], done["second"], done["context"]) == (1, 1, 2)


def test_an_input_as_large_as_may_be_goes_to_handlers_children_and_back(stocked: Machine) -> None:
    payload, answer = large("given"), large("answer")
    with stocked.client() as client:
        assert raised(lambda: client.start("takes_large", payload + "x")) is InvalidArgumentError
        arn = client.start("takes_large", payload).execution_arn
        wait_until_asking(client, arn)
        (callback,) = client.get(arn, include_data=False).open_callbacks
        client.succeed_callback(callback.callback_id, result_text=answer)
        digests = client.result(arn, timeout_s=END_S_MAX)
    assert digests == [digest(payload), digest(payload), digest(answer)]
    # The child has a copy of its own; in the parent the invoke's input and result are one.
    assert payload_sizes(stocked) == [SIZE - 2, SIZE, SIZE]


def test_a_map_over_ten_thousand_items_is_replayed_without_running_a_body_again(
    machine: Machine,
) -> None:
    ledger = machine.folder / "ledger"
    with Machine(machine.folder, environment={LEDGER_VARIABLE: str(ledger)}) as fresh:
        fresh.start_server()
        fresh.start_worker(PROGRAM)
        fresh.wait_for_worker("many")
        with fresh.client() as client:
            count, result = client.run("many", timeout_s=END_S_MAX)
        print(fresh.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure
    assert count == ITEMS
    assert result == digest("".join(f"{item:05d}" * 10 for item in range(ITEMS)))
    bodies = Counter(entry.order for entry in Reader(ledger).new())
    assert (len(bodies), max(bodies.values())) == (ITEMS, 1)
