"""Large results of contexts, maps and parallels: stored whole up to the bound."""

from typing import Any

import pytest

from perdure import DurableContext
from perdure.config import Duration, MapConfig, NestingType
from perdure.worker_api import Succeeded
from perdure_core.limits import PAYLOAD_BYTES_MAX
from perdure_core.model import ContextDetails
from perdure_core.payload import bytes_of
from tests.sdk.hosted import Hosted, handler

ITEMS = 10_000


@pytest.mark.parametrize("nesting", NestingType)
def test_a_map_over_ten_thousand_items_is_kept_whole_and_run_once(nesting: NestingType) -> None:
    bodies: list[int] = []
    seen: list[list[str]] = []

    def each(_context: DurableContext, item: int, *_: Any) -> str:
        bodies.append(item)
        return f"{item:05d}" * 20

    def body(_: Any, context: DurableContext) -> int:
        config = MapConfig[int](nesting_type=nesting, max_concurrency=50)
        result = context.map(range(ITEMS), each, "many", config)
        seen.append(result.get_results())
        context.wait(Duration(5))
        return result.success_count

    host = Hosted(handler(body), result_bytes_max=PAYLOAD_BYTES_MAX)
    assert host.finish() == Succeeded(f"{ITEMS}")
    assert sorted(bodies) == list(range(ITEMS))
    assert seen == [[f"{item:05d}" * 20 for item in range(ITEMS)]] * 2
    details = next(iter(host.state.operations.values())).details
    assert isinstance(details, ContextDetails)
    assert not details.replay_children
    assert bytes_of(details.result) > 1_000_000


@pytest.mark.parametrize(
    ("size", "fits"), [(PAYLOAD_BYTES_MAX, True), (PAYLOAD_BYTES_MAX + 1, False)]
)
def test_a_context_keeps_a_result_up_to_the_bound_and_makes_a_larger_one_again(
    size: int, fits: bool
) -> None:
    runs: list[int] = []

    def large(child: DurableContext) -> str:
        runs.append(child.step(lambda _: 1))
        return "x" * (size - 2)

    def body(_: Any, context: DurableContext) -> int:
        length = len(context.run_in_child_context(large))
        context.wait(Duration(5))
        return length

    # What a worker hosts has this bound, too.
    host = Hosted(handler(body), result_bytes_max=PAYLOAD_BYTES_MAX)
    assert host.finish() == Succeeded(f"{size - 2}")
    assert len(runs) == (1 if fits else 2)
    details = next(iter(host.state.operations.values())).details
    assert isinstance(details, ContextDetails)
    assert details.replay_children is not fits
