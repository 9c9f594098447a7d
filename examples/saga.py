"""Saga: books three parts of a trip. If one fails, those before it are cancelled, last one first.

    perdure dev examples/saga.py
    perdure invoke book_trip --payload '{"trip_id": "t-1"}'
    perdure invoke book_trip --payload '{"trip_id": "t-2", "sold_out": "car"}'

The bookings to undo are in an ordinary dict: a replay fills it again from the recorded steps.
"""

from typing import Any

from perdure import DurableContext, StepContext, StepError, durable_execution, durable_step
from perdure.config import Duration, StepConfig
from perdure.retries import RetryPresets, RetryStrategyConfig, create_retry_strategy

KINDS = ("flight", "hotel", "car")


class SoldOutError(Exception):
    """There is none left, and a retry does not help."""


# Only a broken connection is worth a retry.
BOOK = StepConfig(
    retry_strategy=create_retry_strategy(
        RetryStrategyConfig(
            max_attempts=5,
            initial_delay=Duration.from_seconds(1),
            retryable_error_types=[ConnectionError],
        )
    )
)
CANCEL = StepConfig(retry_strategy=RetryPresets.critical())


@durable_step
def book(step: StepContext, kind: str, trip_id: str, sold_out: str | None) -> str:
    """Book one part of the trip; return the booking's id."""
    if step.attempt == 1 and kind == "hotel":
        raise ConnectionError("the hotel's server closed the connection")  # as happens in practice
    if kind == sold_out:
        raise SoldOutError(f"no {kind} is left")
    step.logger.info("booked a %s for trip %s", kind, trip_id)
    return f"{trip_id}/{kind}"


@durable_step
def cancel(step: StepContext, booking: str) -> None:
    """Cancel a booking; a booking that is cancelled already stays so."""
    step.logger.info("cancelled %s", booking)


@durable_execution
def book_trip(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Book everything, or nothing."""
    booked: dict[str, str] = {}
    try:
        for kind in KINDS:
            booking = book(kind, event["trip_id"], event.get("sold_out"))
            booked[kind] = context.step(booking, name=f"book-{kind}", config=BOOK)
    except StepError as error:
        for kind, booking_id in reversed(booked.items()):
            context.step(cancel(booking_id), name=f"cancel-{kind}", config=CANCEL)
        return {"status": "cancelled", "reason": str(error), "cancelled": [*reversed(booked)]}
    return {"status": "booked", "bookings": booked}
