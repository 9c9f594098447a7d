"""Agreement of all stores: the same random calls get the same answers from each of them.

The memory store is the plainest of them; wherever another answers differently, one is wrong.
"""

import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure_host.errors import StoreError
from perdure_host.ports import (
    Alarm,
    Change,
    ExecutionKey,
    ExecutionName,
    ExecutionRow,
    FunctionRow,
    ListQuery,
    OutboxRow,
    PayloadRow,
    RecordRow,
    StatusEventRow,
    Store,
)
from tests.postgres import PostgresServer
from tests.store.scenes import Place, first_row, name_of, status_event

STEPS = 300
Question = Callable[[Store], Awaitable[object]]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_store_answers_like_the_one_in_memory(
    seed: int, tmp_path: Path, postgres: PostgresServer
) -> None:
    urls = ["memory://", f"sqlite:///{tmp_path}/perdure.db", postgres.create_database()]
    life = Life(random.Random(seed))
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(Place(url).opened()) for url in urls]
        for step in range(STEPS):
            question = await life.draw(stores[0])
            expected, *others = [await answer(store, question) for store in stores]
            for url, other in zip(urls[1:], others, strict=True):
                assert other == expected, f"seed {seed}, step {step}, {url}"
            life.learn(expected)
    assert {"Fenced", "NodeTaken", "a change"} <= life.refusals
    assert life.asked == set(life.kinds)


async def answer(store: Store, question: Question) -> object:
    try:
        return await question(store)
    except StoreError as error:
        return type(error).__name__


class Refusals(msgspec.Struct, frozen=True):
    """The executions whose changes a commit has refused."""

    keys: tuple[ExecutionKey, ...]


class Life:
    """Draws what happens next. Few keys, names and moments, so that things collide."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.asked: set[str] = set()
        self.refusals: set[str] = set()
        self.incarnation = 0
        self.now_ms = 0
        self.kinds: dict[str, Callable[[], Question]] = {
            "join": self.join,
            "renew": self.renew,
            "leave": self.leave,
            "sweep": self.sweep,
            "functions": self.functions,
            "look": self.look,
            "records": self.records,
            "list": self.list,
            "alarms": self.alarms,
            "waiting": self.waiting,
            "outbox": self.outbox,
            "payloads": self.payloads,
            "status events": self.status_events,
        }

    async def draw(self, truth: Store) -> Question:
        self.now_ms += self.dice.randint(0, 1)
        if self.incarnation == 0:
            return self.join()
        if self.dice.random() < 0.4:
            return await self.commit(truth)
        kind = self.dice.choice(list(self.kinds))
        self.asked.add(kind)
        return self.kinds[kind]()

    def learn(self, seen: object) -> None:
        if isinstance(seen, Refusals) and seen.keys:
            self.refusals.add("a change")
        if isinstance(seen, str):
            self.refusals.add(seen)
            if seen == "Fenced" and self.dice.random() < 0.3:
                self.incarnation = 0
        if isinstance(seen, int):
            self.incarnation = seen

    def key(self) -> ExecutionKey:
        number = self.dice.randint(1, 9)
        return ExecutionKey(number % 3, f"{number:032x}")

    def join(self) -> Question:
        name, now_ms = self.dice.choice(["alpha", "alpha", "alpha", "beta"]), self.now_ms
        return lambda store: store.join(name, "here:1", now_ms=now_ms, lease_ms=20)

    def renew(self) -> Question:
        me, now_ms = self.any_owner(), self.now_ms
        return lambda store: store.renew(me, now_ms=now_ms, lease_ms=20)

    def leave(self) -> Question:
        me = self.any_owner()
        return lambda store: store.leave(me)

    def any_owner(self) -> int:
        return self.incarnation - (self.dice.random() < 0.03)

    async def commit(self, truth: Store) -> Question:
        me = self.any_owner()
        keys = {self.key() for _ in range(self.dice.randint(0, 3))}
        changes = [self.change(key, await truth.get(key)) for key in sorted(keys)]
        done = [OutboxRow(self.dice.randint(0, 2), self.letter(), b"") for _ in range(2)]
        status_rows = [self.status_event(self.key()) for _ in range(2)]

        async def commit(store: Store) -> object:
            refused = await store.commit(me, changes, done, status_rows)
            return Refusals(tuple([each.key for each in refused]))

        return commit

    def change(self, key: ExecutionKey, stored: ExecutionRow | None) -> Change:
        """Draw what mostly fits what is stored."""
        sequence = (stored.sequence if stored else 0) + (self.dice.random() < 0.97)
        sequence = max(sequence, 1)
        ended_ms = self.now_ms if self.dice.random() < 0.2 else None
        row = first_row(
            key=key,
            function=f"function-{int(key.execution_id, 16) % 2}",
            # The seventh wants the name of the first, in its bucket and function; and so on.
            name=f"name-{int(key.execution_id, 16) % 6}",
            status=self.dice.choice(["RUNNING", "FAILED"]),
            started_ms=int(key.execution_id, 16) % 5,
            sequence=sequence,
            event_count=sequence,
            waiting_for=self.dice.choice(["task", "timer", "nothing"]),
            ended_ms=ended_ms,
            expires_ms=ended_ms and ended_ms + 5,
        )
        return Change(
            row=row,
            new=(stored is None) == (self.dice.random() < 0.98),
            records=(RecordRow(sequence, sequence, sequence % 3, b"body"),),
            alarm_moved=self.dice.random() < 0.5,
            alarm_ms=self.dice.choice([None, self.now_ms + 3]),
            payloads=(self.payload(),)[: self.dice.randint(0, 1)],
            outbox=(OutboxRow(key.bucket, self.letter(), b"text"),)[: self.dice.randint(0, 1)],
            status_events=(self.status_event(key),)[: self.dice.randint(0, 1)],
        )

    def status_event(self, key: ExecutionKey) -> StatusEventRow:
        event_id, at_ms = self.dice.randint(1, 60), self.dice.randint(1, 5)
        return status_event(key=key, event_id=event_id, at_ms=at_ms)

    def letter(self) -> str:
        return f"{self.dice.randint(1, 9):032x}-{self.dice.randint(1, 60)}"

    def payload(self) -> PayloadRow:
        digest = bytes([0, self.dice.randint(1, 3)])
        return PayloadRow(digest, b"large" + digest)

    def payloads(self) -> Question:
        key, digests = self.key(), [self.payload().digest for _ in range(2)]
        return lambda store: store.load_payloads(key, digests)

    def sweep(self) -> Question:
        me, now_ms, limit = self.any_owner(), self.now_ms, self.dice.randint(1, 3)

        async def sweep(store: Store) -> object:
            swept = await store.sweep(me, now_ms=now_ms, limit=limit)
            while await store.delete_remains(me, limit=limit):
                pass
            return {"swept": swept}

        return sweep

    def functions(self) -> Question:
        me = self.any_owner()
        row = FunctionRow(
            namespace="default",
            name=f"function-{self.dice.randint(1, 4)}",
            execution_timeout_s=self.dice.randint(1, 9),
            retention_days=1,
            durable=self.dice.random() < 0.5,
        )

        async def put_and_list(store: Store) -> object:
            await store.put_functions(me, [row])
            return await store.functions()

        return put_and_list

    def look(self) -> Question:
        key = self.key()
        unknown = ExecutionName(key.bucket, "default", "order", "nobody")

        async def look(store: Store) -> object:
            found = await store.load(key)
            row = await store.get(key)
            if found is None or row is None:
                return [found, row]
            return [found, await store.find_many([name_of(row), unknown])]

        return look

    def records(self) -> Question:
        key, limit, reverse = self.key(), self.dice.randint(1, 4), self.dice.random() < 0.5
        first = self.dice.randint(0, 9)
        return lambda store: store.read_records(
            key, from_event_id=first, limit=limit, reverse=reverse
        )

    def list(self) -> Question:
        name, name_prefix = self.dice.choice([("", ""), ("name-1", ""), ("", "name-"), ("", "m")])
        query = ListQuery(
            namespace="default",
            limit=self.dice.randint(1, 6),
            name=name,
            name_prefix=name_prefix,
            function=self.dice.choice(["", "function-1"]),
            statuses=self.dice.choice([(), ("FAILED",), ("FAILED", "RUNNING", "FAILED")]),
            started_after_ms=self.dice.choice([None, 1]),
            started_before_ms=self.dice.choice([None, 4]),
            oldest_first=self.dice.random() < 0.5,
            after=self.dice.choice([None, (2, self.key().execution_id)]),
        )
        return lambda store: store.list_executions(query)

    def alarms(self) -> Question:
        until_ms, limit = self.now_ms + self.dice.randint(-9, 9), self.dice.randint(1, 6)
        after = self.dice.choice([None, Alarm(self.now_ms, self.key())])
        return lambda store: store.alarms(until_ms=until_ms, after=after, limit=limit)

    def waiting(self) -> Question:
        what: Any = self.dice.choice(["task", "timer", "nothing"])
        after, limit = self.dice.choice([None, self.key()]), self.dice.randint(1, 6)

        async def ask(store: Store) -> object:
            rows = await store.waiting_for(what, after=after, limit=limit)
            return [rows, await store.count_open()]

        return ask

    def status_events(self) -> Question:
        limit = self.dice.randint(1, 6)

        async def ask(store: Store) -> object:
            rows = await store.status_events(limit=limit)
            return [rows, await store.count_status_events(limit=limit)]

        return ask

    def outbox(self) -> Question:
        after, limit = self.dice.choice([None, (2, self.letter())]), self.dice.randint(1, 6)
        return lambda store: store.outbox(after=after, limit=limit)
