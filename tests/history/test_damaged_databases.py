"""Damage to any stored byte: the node starts, and serves every execution that it does not touch."""

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from sqlalchemy.exc import DBAPIError

from perdure_core.identity import parse_arn
from perdure_core.limits import BUCKETS
from perdure_core.refusals import Refused
from perdure_history import scanner
from perdure_history.service import HistoryService
from perdure_host.errors import ChangeRefused
from perdure_host.services import StartRequest, key_of
from perdure_host.sql import open_store
from tests.history.damaged_database import (
    DAMAGES,
    Damage,
    OpenSink,
    RawDatabase,
    damaged,
    furnish,
    ids_of_difference,
    list_arns,
    node,
)
from tests.history.simulation import inside

EXAMPLES: Final[Mapping[str, int]] = {"sqlite": 60, "postgresql": 20}


@pytest.mark.parametrize("kind", list(EXAMPLES))
def test_a_node_starts_over_any_damage_and_serves_all_other_executions(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each scan looks for lost alarms everywhere.
    monkeypatch.setattr(scanner, "_SCANNED_BUCKETS", BUCKETS)
    url = f"sqlite:///{tmp_path}/perdure.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").create_database()
    arns = asyncio.run(_furnished(url))
    database = RawDatabase(url)
    rows = database.read()
    assert all(rows.values())

    @settings(
        max_examples=EXAMPLES[kind],
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(damage=DAMAGES)
    def check(damage: Damage) -> None:
        after = damaged(rows, damage)
        different = ids_of_difference(rows, after)
        assume(after != rows)
        try:
            database.write(after)
        except (DBAPIError, psycopg.Error, sqlite3.Error):
            assume(False)
        untouched = [arn for arn in arns if parse_arn(arn).execution_id not in different]
        asyncio.run(_serve(url, arns, untouched, may_start=damage.table != "functions"))

    check()


async def _furnished(url: str) -> list[str]:
    store = open_store(url)
    await store.open()
    try:
        return await furnish(store)
    finally:
        await store.close()


async def _serve(url: str, arns: list[str], untouched: list[str], *, may_start: bool) -> None:
    store = open_store(url)
    await store.open()
    history = node(store, OpenSink())
    await history.open()
    try:
        for arn in arns:
            await _use(history, arn, is_whole=arn in untouched)
        assert set(untouched) <= await list_arns(history)
        for _ in range(2):
            await inside(history)._scan()
        if may_start:
            new = StartRequest(namespace="default", function="order", name="new", input="1")
            assert (await history.commands.start(new)).started
        assert not history.fatal.done()
        assert history.unavailable_reason is None
    finally:
        await history.close()
        await store.close()


async def _use(history: HistoryService, arn: str, *, is_whole: bool) -> None:
    """Read, hand out and stop the execution; only a damaged one may refuse that."""
    try:
        state = await history.queries.describe(arn)
        events = await history.queries.page(arn, after_event_id=0, limit=100)
        await history.invocations.begin(key_of(arn), "worker")
        if state.ended_ms is None:
            await history.commands.stop(arn, None)
    except (Refused, ChangeRefused):
        assert not is_whole
    else:
        assert events or not is_whole
