"""Matching of replay tasks with free slots of workers.

A task that finds a free slot is handed over at once (sync match); otherwise it waits in the queue
of its function, oldest first; what is under way goes before starts, which get one slot in
STARTS_EVERY all the same. Nothing here is durable: after a crash history offers everything again.

Must stay true: a slot is used once; an execution is in a queue at most once; queues are bounded,
and when one that dropped offers is empty, `refill` requests them again.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from perdure_host.metrics import ServerMetrics
from perdure_host.ports import Clock, ExecutionKey
from perdure_host.services import QueuedStarts, Task

QUEUE_TASKS_MAX: Final = 100_000
# While both wait, a start gets one slot of so many.
STARTS_EVERY: Final = 8
# Weight of the latest of the times between two slots for queued starts.
_GAP_WEIGHT: Final = 0.02

FunctionKey = tuple[str, str]


class _Worker:
    """An attached worker: the functions that it serves, and its number of free slots."""

    __slots__ = ("credit", "deliver", "functions")

    def __init__(self, functions: tuple[FunctionKey, ...], deliver: Callable[[Task], None]) -> None:
        self.functions = functions
        self.deliver = deliver
        self.credit = 0


class _Queue:
    """The tasks of one function, and the workers with free slots, used in turn."""

    __slots__ = (
        "_gap_ms",
        "_passed_over",
        "_started_ms",
        "free",
        "overflowed",
        "starts",
        "under_way",
        "workers",
    )

    def __init__(self) -> None:
        self.under_way: OrderedDict[ExecutionKey, Task] = OrderedDict()
        self.starts: OrderedDict[ExecutionKey, Task] = OrderedDict()
        self.free: OrderedDict[str, None] = OrderedDict()
        self.workers = 0
        self.overflowed = False
        # How many tasks went before the first start.
        self._passed_over = 0
        # When the last start left, or the first came; and the mean time between starts that leave.
        self._started_ms = 0
        self._gap_ms: float | None = None

    def __len__(self) -> int:
        return len(self.under_way) + len(self.starts)

    def __contains__(self, key: ExecutionKey) -> bool:
        return key in self.under_way or key in self.starts

    def oldest_ms(self) -> int | None:
        """Return when the oldest task was offered."""
        firsts = [next(iter(tasks.values())) for tasks in (self.under_way, self.starts) if tasks]
        return min((task.offered_ms for task in firsts), default=None)

    def next_ms(self) -> int:
        """Return when the task that is next was offered."""
        return next(iter(self._next().values())).offered_ms

    def add(self, task: Task) -> None:
        """Put a task at the end."""
        if not task.is_start:
            self.under_way[task.key] = task
            return
        if not self.starts:
            self._started_ms = task.offered_ms
        self.starts[task.key] = task

    def pop(self, now_ms: int) -> Task:
        """Remove the task that is next."""
        tasks = self._next()
        _, task = tasks.popitem(last=False)
        if tasks is self.under_way:
            self._passed_over += 1
            return task
        self._passed_over = 0
        gap_ms = max(0, now_ms - self._started_ms)
        self._started_ms = now_ms
        known_ms = gap_ms if self._gap_ms is None else self._gap_ms
        self._gap_ms = known_ms + _GAP_WEIGHT * (gap_ms - known_ms)
        return task

    def wait_s(self) -> float:
        """Return about how long a start that comes now would wait."""
        return len(self.starts) * (self._gap_ms or 0.0) / 1_000

    def _next(self) -> OrderedDict[ExecutionKey, Task]:
        is_turn_of_starts = self._passed_over >= STARTS_EVERY - 1 or not self.under_way
        return self.starts if self.starts and is_turn_of_starts else self.under_way


class MatchingService:
    """The queues of a node. Synchronous throughout: it runs on the node's event loop."""

    def __init__(
        self, clock: Clock, metrics: ServerMetrics, *, queue_tasks_max: int = QUEUE_TASKS_MAX
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._queue_tasks_max = queue_tasks_max
        self._queues: dict[FunctionKey, _Queue] = {}
        self._workers: dict[str, _Worker] = {}
        # Called when a queue that had overflowed is empty again; set by history.
        self.refill: Callable[[], None] = lambda: None
        metrics.queues = self.queues

    def offer(self, task: Task) -> None:
        """Hand the task over at once when a slot is free, queue it otherwise."""
        queue = self._queue((task.namespace, task.function))
        if queue.free and not len(queue):
            self._hand_over(task, next(iter(queue.free)), sync=True)
        elif task.key in queue:
            return
        elif len(queue) >= self._queue_tasks_max:
            queue.overflowed = True
        else:
            queue.add(task)

    def queued_starts(self, namespace: str, function: str) -> QueuedStarts | None:
        """Return the starts of a function that wait; None if no worker serves it, or none wait."""
        queue = self._queues.get((namespace, function))
        if queue is None or not queue.workers or not queue.starts:
            return None
        return QueuedStarts(len(queue.starts), queue.wait_s())

    def is_queued(self, namespace: str, function: str, key: ExecutionKey) -> bool:
        """Return whether the execution is in its queue, or will be offered again after `refill`."""
        queue = self._queues.get((namespace, function))
        return queue is not None and (key in queue or queue.overflowed)

    def attach(
        self, worker_id: str, functions: Sequence[FunctionKey], deliver: Callable[[Task], None]
    ) -> None:
        """Register a worker, without credit. Replaces its former registration."""
        self.detach(worker_id)
        worker = _Worker(tuple(dict.fromkeys(functions)), deliver)
        self._workers[worker_id] = worker
        for function in worker.functions:
            self._queue(function).workers += 1

    def detach(self, worker_id: str) -> None:
        """Remove the worker."""
        worker = self._workers.pop(worker_id, None)
        if worker is None:
            return
        for function in worker.functions:
            queue = self._queue(function)
            queue.free.pop(worker_id, None)
            queue.workers -= 1

    def credit(self, worker_id: str, slots: int) -> None:
        """Add free slots and fill them with the oldest tasks. Unknown workers are ignored."""
        worker = self._workers.get(worker_id)
        if worker is None or slots < 1:
            return
        worker.credit += slots
        for function in worker.functions:
            self._queue(function).free.setdefault(worker_id)
        while worker.credit:
            queue = self._oldest(worker)
            if queue is None:
                return
            self._hand_over(queue.pop(self._clock.now_ms()), worker_id, sync=False)
            if queue.overflowed and not len(queue):
                queue.overflowed = False
                self.refill()

    def revoke_credit(self, worker_id: str) -> None:
        """Set the credit of the worker to zero."""
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.credit = 0
            self._not_free(worker_id, worker)

    def workers_of(self, namespace: str, function: str) -> int:
        """Return how many attached workers serve the function."""
        queue = self._queues.get((namespace, function))
        return 0 if queue is None else queue.workers

    def queues(self) -> dict[str, tuple[int, float]]:
        """Return depth, and age of the oldest task in seconds, by function."""
        now_ms = self._clock.now_ms()
        by_function: dict[str, tuple[int, float]] = {}
        for (_, function), queue in self._queues.items():
            oldest_ms = queue.oldest_ms()
            age_s = 0.0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1_000
            # The metric has no label for the namespace.
            depth, oldest_s = by_function.get(function, (0, 0.0))
            by_function[function] = (depth + len(queue), max(oldest_s, age_s))
        return by_function

    def _hand_over(self, task: Task, worker_id: str, *, sync: bool) -> None:
        worker = self._workers[worker_id]
        assert worker.credit > 0
        worker.credit -= 1
        if worker.credit:
            # The next task of this function goes to the next worker.
            self._queue((task.namespace, task.function)).free.move_to_end(worker_id)
        else:
            self._not_free(worker_id, worker)
        self._metrics.sync_matches["sync" if sync else "queued"].inc()
        waited_ms = max(0, self._clock.now_ms() - task.offered_ms)
        self._metrics.schedule_to_start_seconds.observe(waited_ms / 1_000)
        worker.deliver(task)

    def _not_free(self, worker_id: str, worker: _Worker) -> None:
        for function in worker.functions:
            self._queue(function).free.pop(worker_id, None)

    def _oldest(self, worker: _Worker) -> _Queue | None:
        """Return the queue, among those that the worker serves, whose next task waits longest."""
        waiting = [queue for each in worker.functions if len(queue := self._queue(each))]
        return min(waiting, key=_Queue.next_ms, default=None)

    def _queue(self, function: FunctionKey) -> _Queue:
        queue = self._queues.get(function)
        if queue is None:
            queue = self._queues[function] = _Queue()
        return queue
