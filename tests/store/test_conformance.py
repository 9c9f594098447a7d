"""Conformance of every store: what the port promises about executions."""

import msgspec
import pytest

from perdure_host.errors import Fenced
from perdure_host.ports import (
    Alarm,
    ExecutionName,
    FunctionRow,
    RecordRow,
    StatusEventRow,
    StoredExecution,
)
from tests.store.scenes import (
    Place,
    changed,
    find,
    first_row,
    go_on,
    key,
    letter,
    loaded,
    name_of,
    payload,
    record,
    start,
    status_event,
)


async def test_what_was_committed_is_loaded_whole(place: Place) -> None:
    change = start(records=(record(1), record(2)), sequence=2, ended_ms=5, expires_ms=9)
    async with place.joined() as (store, me):
        await store.commit(me, [change])
        assert await store.load(key(1)) == StoredExecution(change.row, change.records)


async def test_what_was_committed_outlives_its_store(place: Place) -> None:
    change = start(alarm_ms=5, outbox=(letter(1),))
    async with place.joined() as (store, me):
        await store.commit(me, [change])
    async with place.opened() as store:
        assert await store.load(key(1)) == StoredExecution(change.row, change.records)
        assert await store.alarms(until_ms=5, after=None, limit=9) == [Alarm(5, key(1))]
        assert await store.outbox(after=None, limit=9) == [letter(1)]


async def test_a_change_replaces_the_row_and_appends_its_records(place: Place) -> None:
    first = start()
    second = go_on(first, status="SUCCEEDED", waiting_for="ended", ended_ms=7, expires_ms=8)
    async with place.joined() as (store, me):
        await store.commit(me, [first])
        await store.commit(me, [second])
        records = (*first.records, *second.records)
        assert await store.load(key(1)) == StoredExecution(second.row, records)


async def test_a_row_is_found_by_key_and_by_name(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(1), start(2)])
        assert await store.get(key(2)) == first_row(2)
        assert await find(store, "order-2") == first_row(2)


async def test_many_names_are_found_at_once_and_only_those_that_are_there(place: Place) -> None:
    rows = {name_of(row): row for row in map(first_row, range(300))}
    unknown = [ExecutionName(8, "default", "order", "order-1"), ExecutionName(7, "n", "f", "o")]
    async with place.joined() as (store, me):
        await store.commit(me, [start(n) for n in range(301)])
        assert await store.find_many([*rows, *unknown]) == rows
        assert await store.find_many(unknown) == {}
        assert await store.find_many([]) == {}


async def test_what_was_never_written_is_not_there(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(1)])
        assert await store.load(key(2)) is None
        assert await store.get(key(1, bucket=8)) is None
        assert await find(store, "order-1", function="other") is None
        assert await store.read_records(key(2), from_event_id=1, limit=9) == []


async def test_many_changes_go_into_one_commit(place: Place) -> None:
    old = [start(n) for n in range(300)]
    new = [start(n, alarm_ms=n, outbox=(letter(n),)) for n in range(300, 600)]
    async with place.joined() as (store, me):
        await store.commit(me, old)
        await store.commit(me, [*(go_on(change) for change in old), *new])
        assert [len((await loaded(store, n)).records) for n in (0, 299, 300)] == [2, 2, 1]
        assert len(await store.alarms(until_ms=999, after=None, limit=999)) == 300
        assert len(await store.outbox(after=None, limit=999)) == 300


async def test_executions_are_read_together_as_they_are_one_by_one(place: Place) -> None:
    async with place.joined() as (store, me):
        short, long, other = start(1), start(2), start(3)
        await store.commit(me, [short, long, other])
        await store.commit(me, [go_on(long)])
        found = await store.load_many([key(1), key(2), key(9)], records_max=2)
        assert {each.row.key: each for each in found} == {
            key(1): await store.load(key(1)),
            key(2): await store.load(key(2)),
        }
        (alone,) = await store.load_many([key(1), key(2)], records_max=1)
        assert alone.row.key == key(1)
        assert await store.load_many([], records_max=9) == []


async def test_an_empty_commit_only_asks_the_fence(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [])
        with pytest.raises(Fenced):
            await store.commit(me - 1, [])


async def test_a_large_body_comes_back_unchanged(place: Place) -> None:
    body = bytes(range(256)) * 4_096
    change = start(records=(RecordRow(1, 1, 1, body),), input_digest=b"")
    async with place.joined() as (store, me):
        await store.commit(me, [change])
        assert await store.load(key(1)) == StoredExecution(change.row, change.records)


async def test_a_change_that_contradicts_what_is_stored_fails_alone(place: Place) -> None:
    """Whatever contradicts: the others of the commit are written, and the node is no less live."""
    first = start(1)
    repeated = status_event(1)
    contradictions = {
        "a record that exists": changed(go_on(first), records=(record(1),)),
        "a sequence that has moved on": changed(go_on(go_on(first)), records=(record(3),)),
        "a row that is not there": go_on(start(3)),
        "a key that exists": start(1, name="another"),
        "a name that exists": start(4, name="order-1"),
        "a delivery that exists": start(5, outbox=(letter(1),)),
        "a status event that exists": start(6, status_events=(repeated,)),
        "a status event twice": start(7, status_events=(status_event(7), status_event(7))),
    }
    stored_first = changed(first, outbox=(letter(1),), status_events=(repeated,))
    async with place.joined() as (store, me):
        assert await store.commit(me, [stored_first]) == ()
        changes = [start(20, payloads=(payload(b"kept"),)), *contradictions.values(), start(21)]
        refused = await store.commit(me, changes)
        assert [each.key for each in refused] == [each.row.key for each in contradictions.values()]
        assert all(each.statement and each.reason for each in refused)
        assert await store.load(key(1)) == StoredExecution(first.row, first.records)
        assert [await store.get(key(number)) for number in range(2, 8)] == [None] * 6
        assert await store.outbox(after=None, limit=9) == [letter(1)]
        assert await store.status_events(limit=9) == [repeated]
        assert (await loaded(store, 20)).row == first_row(20)
        assert await store.load_payloads(key(20), [payload(b"kept").digest]) != {}
        assert await store.get(key(21)) == first_row(21)
        assert await store.commit(me, [go_on(first)]) == ()


async def test_a_refused_change_takes_everything_of_it_back(place: Place) -> None:
    stored = payload(b"kept")
    async with place.joined() as (store, me):
        await store.commit(me, [start(1, outbox=(letter(8),))])
        second = start(2, alarm_ms=5, outbox=(letter(2), letter(8)), payloads=(stored,))
        done = changed(second, outbox_done=(letter(8),))
        assert [each.key for each in await store.commit(me, [done])] == [key(2)]
        assert await store.load(key(2)) is None
        assert await store.alarms(until_ms=99, after=None, limit=9) == []
        assert await store.outbox(after=None, limit=9) == [letter(8)]
        assert await store.load_payloads(key(2), [stored.digest]) == {}


async def test_a_change_deletes_the_deliveries_that_it_has_completed(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(1, outbox=(letter(1), letter(2)))])
        await store.commit(me, [changed(start(2), outbox_done=(letter(2), letter(9)))])
        assert await store.outbox(after=None, limit=9) == [letter(1)]


async def test_a_fenced_node_writes_nothing_of_a_contradiction_either(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(1)])
        await store.join("alpha", "a:1", now_ms=0, lease_ms=1)
        with pytest.raises(Fenced):
            await store.commit(me, [start(2), start(1)])
        assert await store.load(key(2)) is None


async def test_the_same_name_is_free_in_another_function_and_namespace(place: Place) -> None:
    async with place.joined() as (store, me):
        others = [start(2, name="order-1", function="f"), start(3, name="order-1", namespace="n")]
        await store.commit(me, [start(1), *others])
        found = await find(store, "order-1", namespace="n")
        assert found == others[1].row


async def test_an_alarm_moves_and_goes_with_the_change_that_says_so(place: Place) -> None:
    moves = [(False, None), (True, 30), (True, None), (True, None), (True, 40)]
    seen: list[list[int]] = []
    change = start(alarm_ms=50)
    async with place.joined() as (store, me):
        await store.commit(me, [change])
        for moved, alarm_ms in moves:
            change = msgspec.structs.replace(go_on(change), alarm_moved=moved, alarm_ms=alarm_ms)
            await store.commit(me, [change])
            seen.append([a.due_ms for a in await store.alarms(until_ms=99, after=None, limit=9)])
    assert seen == [[50], [30], [], [], [40]]


async def test_alarms_come_by_time_then_key_and_only_when_due(place: Place) -> None:
    early = [start(1, alarm_ms=20), start(2, alarm_ms=10), start(3, alarm_ms=20)]
    async with place.joined() as (store, me):
        await store.commit(me, [*early, start(4, alarm_ms=31), start(5)])
        due = [Alarm(10, key(2)), Alarm(20, key(1)), Alarm(20, key(3))]
        assert await store.alarms(until_ms=30, after=None, limit=9) == due
        assert await store.alarms(until_ms=31, after=due[-1], limit=9) == [Alarm(31, key(4))]


async def test_alarms_are_paged_without_gaps_or_repetitions(place: Place) -> None:
    changes = [start(n, key=key(n, bucket=n % 5), alarm_ms=n % 7) for n in range(40)]
    async with place.joined() as (store, me):
        await store.commit(me, changes)
        pages: list[Alarm] = []
        for _ in range(7):
            last = pages[-1] if pages else None
            pages += await store.alarms(until_ms=9, after=last, limit=7)
    assert pages == sorted(Alarm(n % 7, key(n, bucket=n % 5)) for n in range(40))


async def test_executions_that_run_without_an_alarm_are_found_bucket_by_bucket(
    place: Place,
) -> None:
    lost = [start(n, key=key(n, bucket=n)) for n in range(1, 5)]
    others = [
        start(5, alarm_ms=9),
        start(6, ended_ms=1, status="FAILED"),
        start(7, status="PAUSED"),
        start(8, status="PAUSING"),
    ]
    async with place.joined() as (store, me):
        await store.commit(me, [*lost, *others])
        found = [
            await store.without_alarm(from_bucket=begin, to_bucket=end, limit=2)
            for begin, end in ((0, 2), (1, 4), (4, 4_096), (5, 4_096))
        ]
    assert [[each.bucket for each in keys] for keys in found] == [[1], [1, 2], [4], []]


async def test_what_was_delivered_leaves_the_outbox(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(outbox=(letter(1), letter(2), letter(3, bucket=9)))])
        await store.commit(me, [], [letter(2), letter(99)])
        assert await store.outbox(after=None, limit=9) == [letter(1), letter(3, bucket=9)]


async def test_the_outbox_is_paged_by_bucket_and_id(place: Place) -> None:
    letters = [letter(n, bucket=n % 3) for n in range(9)]
    async with place.joined() as (store, me):
        await store.commit(me, [start(outbox=tuple(letters))])
        inorder = sorted(letters, key=lambda row: (row.bucket, row.outbox_id))
        assert await store.outbox(after=None, limit=4) == inorder[:4]
        place_of_last = (inorder[3].bucket, inorder[3].outbox_id)
        assert await store.outbox(after=place_of_last, limit=9) == inorder[4:]


async def test_status_events_come_back_whole_with_the_change_that_caused_them(
    place: Place,
) -> None:
    began, ended = status_event(1), status_event(1, 5, at_ms=7, status="FAILED", ended_ms=6)
    async with place.joined() as (store, me):
        await store.commit(me, [start(1, status_events=(began, ended))])
    async with place.opened() as store:
        assert await store.status_events(limit=9) == [ended, began]


async def test_the_oldest_status_events_come_first_and_what_happened_at_once_by_number(
    place: Place,
) -> None:
    rows = [
        status_event(n, event_id, key=key(n, bucket=n % 2), at_ms=n // 4)
        for n in range(9)
        for event_id in (11, 2)
    ]
    async with place.joined() as (store, me):
        await store.commit(
            me, [start(n, status_events=tuple(rows[2 * n : 2 * n + 2])) for n in range(9)]
        )
        inorder = sorted(rows, key=lambda row: (row.at_ms, row.key, row.event_id))
        assert await store.status_events(limit=7) == inorder[:7]
        assert await store.status_events(limit=99) == inorder


async def test_delivered_status_events_are_deleted_and_others_stay(place: Place) -> None:
    first, second, other = status_event(1), status_event(1, 2), status_event(2)
    async with place.joined() as (store, me):
        await store.commit(
            me, [start(1, status_events=(first, second)), start(2, status_events=(other,))]
        )
        with pytest.raises(Fenced):
            await store.commit(me - 1, [], (), [first])
        await store.commit(me, [], (), [first, status_event(99)])
        assert await store.status_events(limit=9) == [second, other]
        await store.commit(me, [], (), [first, other])
        assert await store.status_events(limit=9) == [second]


async def test_status_events_are_counted_up_to_a_limit(place: Place) -> None:
    async with place.joined() as (store, me):
        assert await store.count_status_events(limit=9) == 0
        rows: tuple[StatusEventRow, ...] = tuple(status_event(1, n) for n in range(1, 6))
        await store.commit(me, [start(1, status_events=rows)])
        assert await store.count_status_events(limit=9) == 5
        assert await store.count_status_events(limit=5) == 5
        assert await store.count_status_events(limit=4) == 4


async def test_status_events_outlive_their_execution_and_hold_up_no_sweep(place: Place) -> None:
    async with place.joined() as (store, me):
        await store.commit(
            me, [start(1, ended_ms=1, expires_ms=10, status_events=(status_event(1),))]
        )
        assert await store.sweep(me, now_ms=10, limit=9) == 1
        assert await store.load(key(1)) is None
        assert await store.status_events(limit=9) == [status_event(1)]


# Records 1 to 6; record 2 holds no public event, record 4 holds three: 3, 4 and 5.
HISTORY = (
    record(1, first_event_id=1),
    record(2, first_event_id=2, event_count=0),
    record(3, first_event_id=2),
    record(4, first_event_id=3, event_count=3),
    record(5, first_event_id=6),
    record(6, first_event_id=7, event_count=0),
)


@pytest.mark.parametrize(
    ("from_event_id", "limit", "reverse", "sequences"),
    [
        (1, 9, False, [1, 3, 4, 5]),
        (1, 2, False, [1, 3]),
        (2, 9, False, [3, 4, 5]),
        (4, 9, False, [4, 5]),
        (7, 9, False, []),
        (6, 9, True, [5, 4, 3, 1]),
        (99, 2, True, [5, 4]),
        (4, 9, True, [4, 3, 1]),
        (1, 9, True, [1]),
        (0, 9, True, []),
    ],
)
async def test_records_are_read_from_an_event_on(
    place: Place, from_event_id: int, limit: int, reverse: bool, sequences: list[int]
) -> None:
    async with place.joined() as (store, me):
        await store.commit(me, [start(records=HISTORY, sequence=6, event_count=6), start(2)])
        found = await store.read_records(
            key(1), from_event_id=from_event_id, limit=limit, reverse=reverse
        )
    assert found == [HISTORY[sequence - 1] for sequence in sequences]


async def test_executions_are_found_by_what_they_wait_for(place: Place) -> None:
    rows = [first_row(n, key=key(n, bucket=9 - n)) for n in range(5)]
    rows += [first_row(7, waiting_for="nothing"), first_row(8, waiting_for="timer")]
    async with place.joined() as (store, me):
        await store.commit(me, [msgspec.structs.replace(start(), row=row) for row in rows])
        tasks = sorted(rows[:5], key=lambda row: row.key)
        assert await store.waiting_for("task", after=None, limit=3) == tasks[:3]
        assert await store.waiting_for("task", after=tasks[2].key, limit=9) == tasks[3:]
        assert await store.waiting_for("nothing", after=None, limit=9) == [rows[5]]
        assert await store.waiting_for("timer", after=None, limit=9) == [rows[6]]
        assert await store.waiting_for("callback", after=None, limit=9) == []


async def test_what_an_execution_waits_for_follows_its_changes(place: Place) -> None:
    change = start()
    async with place.joined() as (store, me):
        await store.commit(me, [change])
        await store.commit(me, [go_on(change, waiting_for="nothing")])
        assert await store.waiting_for("task", after=None, limit=9) == []
        assert [row.key for row in await store.waiting_for("nothing", after=None, limit=9)] == [
            key(1)
        ]


async def test_open_executions_are_counted_by_function(place: Place) -> None:
    async with place.joined() as (store, me):
        assert await store.count_open() == {}
        others = [start(3, function="ship"), start(4, ended_ms=5, waiting_for="ended")]
        await store.commit(me, [start(1), start(2), *others])
        assert await store.count_open() == {"order": 2, "ship": 1}


async def test_payloads_are_committed_with_their_record_and_read_by_digest(place: Place) -> None:
    small, large = payload(b"\x00 small"), payload(b"large" * 1_000_000)
    change = start(payloads=(small,))
    async with place.joined() as (store, me):
        await store.commit(me, [change])
        await store.commit(me, [go_on(change, large)])
        digests = [large.digest, b"unknown", small.digest]
        expected = {large.digest: large.body, small.digest: small.body}
        assert await store.load_payloads(key(1), digests) == expected
        assert await store.load_payloads(key(1), [small.digest]) == {small.digest: small.body}
        assert await store.load_payloads(key(1), []) == {}
        # Another execution has none, whatever its number.
        assert await store.load_payloads(key(2), digests) == {}
        assert await store.load_payloads(key(1, bucket=8), digests) == {}


async def test_the_same_payload_is_kept_once(place: Place) -> None:
    """As a callback's result is that a context passes on; also within one commit."""
    same = payload(b"same")
    change = start(payloads=(same, same))
    async with place.joined() as (store, me):
        await store.commit(me, [change])
        again = go_on(change, same)
        await store.commit(me, [again])
        await store.commit(me, [start(2, payloads=(same,))])
        for number in (1, 2):
            assert await store.load_payloads(key(number), [same.digest]) == {same.digest: b"same"}


async def test_functions_are_inserted_replaced_and_listed(place: Place) -> None:
    def function(name: str, days: int, namespace: str = "default") -> FunctionRow:
        return FunctionRow(
            namespace=namespace,
            name=name,
            execution_timeout_s=60,
            retention_days=days,
            durable=name != "plain",
            tenant_isolation=name == "zeta",
        )

    async with place.joined() as (store, me):
        await store.put_functions(me, [function("order", 1), function("plain", 1)])
        await store.put_functions(me, [function("order", 2), function("zeta", 3, "another")])
        expected = [function("zeta", 3, "another"), function("order", 2), function("plain", 1)]
        assert await store.functions() == expected


async def test_the_secret_is_made_once_and_shared(place: Place) -> None:
    async with place.opened() as store, place.opened() as other:
        secret = await store.secret()
        assert len(secret) == 32
        assert await other.secret() == secret == await store.secret()


async def test_the_rows_of_an_execution_are_seen_as_they_are_stored(place: Place) -> None:
    texts = (payload(b"one"), payload(b"two"))
    change = start(
        1,
        records=(record(1), record(2)),
        sequence=2,
        alarm_ms=5,
        outbox=(letter(1, sender=1),),
        payloads=texts,
        status_events=(status_event(1),),
    )
    async with place.joined() as (store, me):
        await store.commit(me, [change, start(2, alarm_ms=6)])
        rows = await store.stored_rows(key(1), skip=0, limit=99, bytes_max=99_999)
        assert [row.table for row in rows] == [
            *("executions", "events", "events", "payloads", "payloads"),
            *("timers", "outbox", "status_events"),
        ]
        place_of_it = {"bucket": 7, "execution_id": key(1).execution_id}
        assert rows[1].columns == {
            **place_of_it,
            "sequence": 1,
            "first_event_id": 1,
            "event_count": 1,
            "body": record(1).body,
        }
        assert rows[5].columns == {**place_of_it, "due_ms": 5}
        facts = rows[0].columns
        assert (facts["name"], facts["ended_ms"], facts["input_digest"]) == (
            *("order-1", None),
            b"\x00\xff",
        )
        # In pages: by number, and at least one row however large it is.
        paged = [
            page
            for skip in range(len(rows))
            for page in await store.stored_rows(key(1), skip=skip, limit=1, bytes_max=99_999)
        ]
        assert paged == rows
        assert await store.stored_rows(key(1), skip=1, limit=9, bytes_max=0) == rows[1:2]
        assert await store.stored_rows(key(1), skip=len(rows), limit=9, bytes_max=9) == []
        assert await store.stored_rows(key(3), skip=0, limit=9, bytes_max=9) == []
