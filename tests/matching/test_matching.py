"""Matching: oldest task first, each slot used once, no task lost, queues bounded."""

import random

import pytest

from perdure_host.metrics import ServerMetrics
from perdure_host.ports import ExecutionKey
from perdure_host.services import QueuedStarts, Task
from perdure_matching.service import STARTS_EVERY, MatchingService


class Clock:
    """A clock as a number; nothing in matching waits."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    async def wait_until(self, due_ms: int) -> None:
        raise AssertionError("matching never waits")


class Desk:
    """A matching service, and the tasks that each worker received."""

    def __init__(self, *, queue_tasks_max: int = 1_000) -> None:
        self.clock = Clock()
        self.metrics = ServerMetrics()
        self.matching = MatchingService(self.clock, self.metrics, queue_tasks_max=queue_tasks_max)
        self.refills = 0
        self.got: list[tuple[str, int]] = []
        self.matching.refill = self._refill

    def _refill(self) -> None:
        self.refills += 1

    def task(self, number: int, function: str = "order", *, is_start: bool = False) -> Task:
        key = ExecutionKey(number % 4_096, f"{number:032x}")
        return Task(key, "default", function, self.clock.ms, is_start)

    def offer(self, *numbers: int, function: str = "order", is_start: bool = False) -> None:
        for number in numbers:
            self.matching.offer(self.task(number, function, is_start=is_start))

    def attach(self, worker_id: str, *functions: str, slots: int = 0) -> None:
        def deliver(task: Task) -> None:
            self.got.append((worker_id, int(task.key.execution_id, 16)))

        served = [("default", function) for function in functions or ("order",)]
        self.matching.attach(worker_id, served, deliver)
        self.matching.credit(worker_id, slots)

    def numbers(self) -> list[int]:
        return [number for _, number in self.got]

    def count(self, matched: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "perdure_sync_matches_total", {"matched": matched}
        )


def test_a_task_that_finds_a_free_slot_is_handed_over_at_once() -> None:
    desk = Desk()
    desk.attach("w", slots=1)
    desk.offer(1, 2)
    assert desk.got == [("w", 1)]
    assert (desk.count("sync"), desk.count("queued")) == (1, 0)


def test_the_oldest_task_goes_first() -> None:
    desk = Desk()
    desk.offer(3, 1, 2)
    desk.attach("w", slots=2)
    desk.matching.credit("w", 1)
    assert desk.numbers() == [3, 1, 2]
    assert (desk.count("sync"), desk.count("queued")) == (0, 3)


def test_the_oldest_task_of_all_queues_that_a_worker_serves_goes_first() -> None:
    desk = Desk()
    for number, function in ((1, "b"), (2, "a"), (3, "b"), (4, "c")):
        desk.offer(number, function=function)
        desk.clock.ms += 10
    desk.attach("w", "a", "b", slots=10)
    assert desk.numbers() == [1, 2, 3]


def test_a_task_behind_others_does_not_overtake_them() -> None:
    desk = Desk()
    desk.offer(1, 2)
    desk.attach("w", slots=1)
    desk.offer(3)
    desk.matching.credit("w", 2)
    assert desk.numbers() == [1, 2, 3]


def test_workers_with_room_take_turns() -> None:
    desk = Desk()
    for worker_id in "abc":
        desk.attach(worker_id, slots=10)
    desk.offer(*range(9))
    assert [worker_id for worker_id, _ in desk.got] == list("abcabcabc")


def test_a_slot_is_promised_once_over_all_functions() -> None:
    desk = Desk()
    desk.attach("w", "a", "b", slots=1)
    desk.offer(1, function="a")
    desk.offer(2, function="b")
    assert desk.numbers() == [1]
    desk.matching.credit("w", 1)
    assert desk.numbers() == [1, 2]


def test_credit_that_was_withdrawn_is_not_used() -> None:
    desk = Desk()
    desk.attach("w", slots=5)
    desk.matching.revoke_credit("w")
    desk.offer(1)
    assert desk.got == []
    desk.matching.credit("w", 1)
    assert desk.numbers() == [1]


def test_unknown_workers_are_ignored() -> None:
    desk = Desk()
    desk.matching.credit("nobody", 3)
    desk.matching.revoke_credit("nobody")
    desk.matching.detach("nobody")
    desk.offer(1)
    assert desk.got == []


@pytest.mark.parametrize("slots", [0, -1])
def test_credit_of_nothing_is_ignored(slots: int) -> None:
    desk = Desk()
    desk.attach("w")
    desk.matching.credit("w", slots)
    desk.offer(1)
    assert desk.got == []


def test_an_execution_stands_in_its_queue_once() -> None:
    desk = Desk()
    desk.offer(1, 1, 1)
    assert desk.matching.is_queued("default", "order", desk.task(1).key)
    desk.attach("w", slots=5)
    assert desk.numbers() == [1]
    assert not desk.matching.is_queued("default", "order", desk.task(1).key)


def test_tasks_stay_when_their_worker_leaves() -> None:
    desk = Desk()
    desk.attach("w")
    desk.offer(1, 2)
    desk.matching.detach("w")
    desk.attach("v", slots=2)
    assert desk.got == [("v", 1), ("v", 2)]
    desk.offer(3)
    assert len(desk.got) == 2


def test_a_worker_that_left_gets_nothing() -> None:
    desk = Desk()
    desk.attach("w", slots=3)
    desk.matching.detach("w")
    desk.offer(1)
    desk.matching.credit("w", 1)
    assert desk.got == []


def test_attaching_again_replaces_functions_and_credit() -> None:
    desk = Desk()
    desk.attach("w", "a", slots=3)
    desk.attach("w", "b")
    desk.offer(1, function="a")
    desk.offer(2, function="b")
    assert desk.got == []
    desk.matching.credit("w", 5)
    assert desk.numbers() == [2]
    assert desk.matching.workers_of("default", "a") == 0
    assert desk.matching.workers_of("default", "b") == 1


def test_a_worker_that_names_a_function_twice_is_counted_once() -> None:
    desk = Desk()
    desk.attach("w", "a", "a")
    assert desk.matching.workers_of("default", "a") == 1
    desk.matching.detach("w")
    assert desk.matching.workers_of("default", "a") == 0
    assert desk.matching.workers_of("default", "never") == 0


def test_a_full_queue_turns_offers_away_and_asks_for_them_once_it_is_empty() -> None:
    desk = Desk(queue_tasks_max=3)
    desk.offer(1, 2, 3, 4, 5)
    # What was turned away is cared for.
    assert desk.matching.is_queued("default", "order", desk.task(4).key)
    desk.attach("w", slots=2)
    assert desk.refills == 0
    desk.matching.credit("w", 1)
    assert (desk.numbers(), desk.refills) == ([1, 2, 3], 1)
    assert not desk.matching.is_queued("default", "order", desk.task(4).key)
    desk.offer(4, 5)
    desk.matching.credit("w", 2)
    assert (desk.numbers(), desk.refills) == ([1, 2, 3, 4, 5], 1)


def test_depth_and_age_are_those_of_the_queue() -> None:
    desk = Desk()
    desk.offer(1, 2)
    desk.clock.ms += 2_500
    assert desk.matching.queues() == {"order": (2, 2.5)}
    depth = desk.metrics.registry.get_sample_value("perdure_queue_depth", {"function": "order"})
    assert depth == 2
    desk.attach("w", slots=2)
    assert desk.matching.queues() == {"order": (0, 0.0)}


def test_namespaces_share_the_label_of_their_function() -> None:
    desk = Desk()
    desk.offer(1)
    desk.clock.ms += 1_000
    task = desk.task(2)
    desk.matching.offer(Task(task.key, "other", "order", desk.clock.ms))
    assert desk.matching.queues() == {"order": (2, 1.0)}


def test_the_time_from_offer_to_delivery_is_measured() -> None:
    desk = Desk()
    desk.offer(1)
    desk.clock.ms += 3_000
    desk.attach("w", slots=1)
    total = desk.metrics.registry.get_sample_value("perdure_schedule_to_start_seconds_sum")
    assert total == 3.0


@pytest.mark.parametrize("seed", list(range(20)))
def test_whatever_comes_each_task_is_delivered_once_and_no_slot_twice(seed: int) -> None:
    dice = random.Random(seed)
    desk = Desk(queue_tasks_max=10_000)
    promised = dict.fromkeys("abc", 0)
    present: set[str] = set()
    offered = 0
    for _ in range(400):
        worker_id = dice.choice("abc")
        before = len(desk.got)
        match dice.randint(0, 5):
            case 0 | 1 | 2:
                offered += 1
                desk.offer(offered, function=dice.choice(["f", "g"]))
            case 3:
                promised[worker_id] += 2 if worker_id in present else 0
                desk.matching.credit(worker_id, 2)
            case 4:
                promised[worker_id] = 0
                present.add(worker_id)
                desk.attach(worker_id, *dice.choice([("f",), ("f", "g")]))
            case _:
                promised[worker_id] = 0
                desk.matching.revoke_credit(worker_id)
        for receiver, _ in desk.got[before:]:
            promised[receiver] -= 1
            assert promised[receiver] >= 0
    desk.attach("last", "f", "g", slots=offered)
    assert sorted(desk.numbers()) == list(range(1, offered + 1))


def test_what_is_under_way_goes_before_starts_which_get_one_slot_in_so_many() -> None:
    desk = Desk()
    desk.offer(*range(100, 103), is_start=True)
    desk.offer(*range(2 * STARTS_EVERY))
    desk.attach("w", slots=2 * STARTS_EVERY + 3)
    under_way = [*range(2 * STARTS_EVERY)]
    first, then = STARTS_EVERY - 1, 2 * (STARTS_EVERY - 1)
    assert desk.numbers() == [
        *(*under_way[:first], 100),
        *(*under_way[first:then], 101),
        *(*under_way[then:], 102),
    ]


def test_the_wait_of_the_next_start_follows_the_pace_of_those_before() -> None:
    desk = Desk()
    desk.offer(*range(1_000), is_start=True)
    assert desk.matching.queued_starts("default", "order") is None  # nobody serves it
    desk.attach("w")
    assert desk.matching.queued_starts("default", "order") == QueuedStarts(1_000, 0.0)
    for _ in range(400):
        desk.clock.ms += 10
        desk.matching.credit("w", 1)
    assert waiting(desk) == (600, 6.0)
    for _ in range(500):
        desk.clock.ms += 50
        desk.matching.credit("w", 1)
    assert waiting(desk) == (100, 5.0)
    desk.matching.credit("w", 100)
    assert desk.matching.queued_starts("default", "order") is None


def waiting(desk: Desk) -> tuple[int, float]:
    """Return how many starts wait, and how long the next would, to a tenth of a second."""
    starts = desk.matching.queued_starts("default", "order")
    assert starts is not None
    return starts.count, round(starts.wait_s, 1)
