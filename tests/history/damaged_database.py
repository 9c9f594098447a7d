"""A database with executions of every kind, and damage to the bytes of its rows."""

import contextlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy
from hypothesis import strategies as st

from perdure_core.commands import CompletionStatus
from perdure_core.identity import arn_of
from perdure_core.model import OperationUpdate
from perdure_history.service import HistoryService
from perdure_host.clock import SteadyClock
from perdure_host.errors import SinkError
from perdure_host.metrics import ServerMetrics
from perdure_host.ports import ListQuery, StatusEvent, Store
from perdure_host.services import StartRequest, key_of
from perdure_host.tokens import Signer
from perdure_matching.service import MatchingService
from tests.history.manual_worker import update
from tests.history.simulation import SECRET, function, inside

# The rows of the node, its lease and the secret are not among them: they belong to no execution.
TABLES: Final = (
    *("executions", "events", "payloads", "timers", "outbox", "status_events", "functions"),
)
Rows = dict[str, list[tuple[Any, ...]]]


def _keep_back(_rows: object) -> None:
    """Deliver nothing."""


class FailingSink:
    """A sink that is away, so that status events stay."""

    async def deliver(self, events: Sequence[StatusEvent]) -> None:
        raise SinkError(f"{len(events)} events cannot be delivered on purpose")


class OpenSink:
    """A sink that accepts everything."""

    async def deliver(self, events: Sequence[StatusEvent]) -> None:
        """Accept the events."""


def node(store: Store, sink: FailingSink | OpenSink) -> HistoryService:
    """Return a node that is not open yet."""
    clock, metrics = SteadyClock(), ServerMetrics()
    history = HistoryService(
        store=store,
        clock=clock,
        metrics=metrics,
        signer=Signer(SECRET),
        matching=MatchingService(clock, metrics),
        node_name="alpha",
        address="alpha:1",
    )
    history.deliver_status_events(sink)
    return history


async def furnish(store: Store) -> list[str]:
    """Write executions of every kind; return their ARNs."""
    history = node(store, FailingSink())
    await history.open()
    await history.invocations.register_functions([function("order"), function("child")])
    arns: list[str] = []
    begun: tuple[tuple[OperationUpdate, ...], ...] = (
        (),
        (update("WAIT", "START", "w", wait_ms=3_600_000),),
        (update("CALLBACK", "START", "c"),),
        (update("STEP", "START", "s"), update("STEP", "SUCCEED", "s", payload='"done"')),
        (update("CHAINED_INVOKE", "START", "i"),),
    )
    for number, updates in enumerate(begun):
        text = '"%s"' % ("x" * 20_000) if number == 2 else "1"
        request = StartRequest(namespace="default", function="order", name=f"n{number}", input=text)
        arns.append((await history.commands.start(request)).arn)
        if number == 4:
            # Its child is not started, so that the row stays.
            inside(history)._executions.on_outbox = _keep_back
        if updates:
            await _invoke(history, arns[-1], updates)
    ended = StartRequest(namespace="default", function="order", name="ended", input="1")
    arns.append((await history.commands.start(ended)).arn)
    await history.commands.stop(arns[-1], None)
    await history.close()
    return arns


async def _invoke(history: HistoryService, arn: str, updates: tuple[OperationUpdate, ...]) -> None:
    offer = await history.invocations.begin(key_of(arn), "worker")
    assert offer is not None
    answer = await history.invocations.checkpoint(offer.token, "once", updates)
    await history.invocations.complete(
        answer.token, CompletionStatus.PENDING, result=None, error=None
    )


async def list_arns(history: HistoryService) -> set[str]:
    """Return the ARNs of all executions that are listed."""
    query = ListQuery(namespace="default", limit=100)
    return {arn_of(row.identity) for row in (await history.queries.list_executions(query)).rows}


class Damage(msgspec.Struct, frozen=True):
    """What happens to one column of one row."""

    table: str
    row: int
    column: int
    kind: str
    place: int
    other_row: int


DAMAGES: Final = st.builds(
    Damage,
    table=st.sampled_from(TABLES),
    row=st.integers(0, 30),
    column=st.integers(0, 12),
    kind=st.sampled_from(["flip", "cut", "swap"]),
    place=st.integers(0, 500),
    other_row=st.integers(0, 30),
)


def damaged(rows: Rows, damage: Damage) -> Rows:
    """Return the rows with the damage."""
    table = [list(row) for row in rows[damage.table]]
    row, other = table[damage.row % len(table)], table[damage.other_row % len(table)]
    column = damage.column % len(row)
    if damage.kind == "swap":
        row[column], other[column] = other[column], row[column]
    else:
        row[column] = _mutated(row[column], damage)
    return {**rows, damage.table: [tuple(row) for row in table]}


def ids_of_difference(before: Rows, after: Rows) -> str:
    """Return what the rows that differ hold, as one text in which ids can be looked for."""
    different = {
        row
        for table in TABLES
        for row in set(before[table]).symmetric_difference(after[table])
        if table != "functions"
    }
    return repr(different)


def _mutated(value: Any, damage: Damage) -> Any:
    if value is None:
        return damage.place
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ (1 << damage.place % 31) if damage.kind == "flip" else value >> 8
    body = value.encode() if isinstance(value, str) else bytes(value)
    place = damage.place % max(1, len(body))
    if damage.kind == "cut" or not body:
        body = body[:place]
    else:
        body = body[:place] + bytes([body[place] ^ (1 << damage.place % 8)]) + body[place + 1 :]
    return Text(body) if isinstance(value, str) else body


class Text(msgspec.Struct, frozen=True):
    """A text by its bytes, which need not be one."""

    body: bytes


class RawDatabase:
    """The rows of a database, past everything that checks them."""

    def __init__(self, url: str) -> None:
        self._is_sqlite = url.startswith("sqlite")
        driver = url if self._is_sqlite else url.replace("postgresql:", "postgresql+psycopg:", 1)
        self._engine = sqlalchemy.create_engine(driver, poolclass=sqlalchemy.NullPool)

    def read(self) -> Rows:
        """Return all rows."""
        with contextlib.closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            rows: Rows = {}
            for table in TABLES:
                cursor.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
                rows[table] = [tuple(row) for row in cursor.fetchall()]
            return rows

    def write(self, rows: Rows) -> None:
        """Replace all rows. Raises the driver's error for those that the database refuses."""
        with contextlib.closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            for table, of_table in rows.items():
                cursor.execute(f"DELETE FROM {table}")
                for row in of_table:
                    marks = ", ".join(map(self._mark, row))
                    values = [value.body if isinstance(value, Text) else value for value in row]
                    cursor.execute(f"INSERT INTO {table} VALUES ({marks})", values)
            connection.commit()

    def _mark(self, value: Any) -> str:
        if not self._is_sqlite:
            return "convert_from(%s, 'UTF8')" if isinstance(value, Text) else "%s"
        return "CAST(? AS TEXT)" if isinstance(value, Text) else "?"
