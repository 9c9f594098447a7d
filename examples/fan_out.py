"""Fan-out: resizes a thousand pictures, fifty at a time; up to one in twenty may be broken.

    perdure dev examples/fan_out.py
    perdure invoke resize_all --payload '{"pictures": 1000, "broken_every": 100}'
    perdure invoke resize_all --payload '{"pictures": 1000, "broken_every": 10}'

The second batch has too many broken pictures: it stops early and fails. If the worker is killed,
the batch goes on with the pictures that are not done.
"""

from collections.abc import Sequence
from typing import Any

from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.config import CompletionConfig, CompletionReason, MapConfig, StepConfig
from perdure.retries import RetryStrategyConfig, create_retry_strategy


class BrokenPictureError(Exception):
    """The file is not a picture; reading it again does not help."""


class TooManyBrokenError(Exception):
    """Something is wrong with the whole batch."""


def name_of(picture: str, _index: int) -> str:
    """Name each item in the history after its picture."""
    return picture


FIFTY_AT_A_TIME = MapConfig[str](
    max_concurrency=50,
    completion_config=CompletionConfig(tolerated_failure_percentage=5),
    item_namer=name_of,
)
RESIZE = StepConfig(
    retry_strategy=create_retry_strategy(
        RetryStrategyConfig(max_attempts=3, retryable_error_types=[OSError])
    )
)


@durable_step
def list_pictures(_step: StepContext, count: int) -> list[str]:
    """Return the names of the pictures. A real one lists a bucket or a table."""
    return [f"picture-{number:04}.png" for number in range(1, count + 1)]


@durable_step
def resize(_step: StepContext, picture: str, broken_every: int) -> int:
    """Resize one picture; return its new size in bytes."""
    number = int(picture.removeprefix("picture-").removesuffix(".png"))
    if number % broken_every == 0:
        raise BrokenPictureError(f"{picture} is not a picture")
    return 1_000 + number


@durable_execution
def resize_all(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Resize every picture, and return which ones are broken."""
    pictures = context.step(list_pictures(event["pictures"]))

    def resize_one(
        branch: DurableContext, picture: str, _index: int, _pictures: Sequence[str]
    ) -> int:
        return branch.step(resize(picture, event["broken_every"]), config=RESIZE)

    batch = context.map(pictures, resize_one, name="resize-all", config=FIFTY_AT_A_TIME)
    broken = [pictures[item.index] for item in batch.failed()]
    if batch.completion_reason is CompletionReason.FAILURE_TOLERANCE_EXCEEDED:
        raise TooManyBrokenError(f"{len(broken)} of {batch.total_count} pictures are broken")
    return {"resized": batch.success_count, "bytes": sum(batch.get_results()), "broken": broken}
