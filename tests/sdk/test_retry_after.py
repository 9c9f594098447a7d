"""Retry-After hints: an error can state the delay before the next attempt."""

import math
from datetime import timedelta
from email.message import Message
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import httpx
import pytest

from perdure import (
    AsyncDurableContext,
    DurableContext,
    StepContext,
    WithRetryConfig,
    with_retry,
)
from perdure.config import Duration, StepConfig
from perdure.operations.retry_after import CAUSES_MAX, retry_after_ms
from perdure.retries import RetryPresets
from perdure.worker_api import Failed, Pending
from perdure_core.limits import WAIT_MS_MAX
from tests.sdk.hosted import Hosted, async_handler, handler

# 2026-01-01T00:00:00Z
NOW_MS = 1_767_225_600_000
DATE = "Thu, 01 Jan 2026 00:01:30 GMT"


class Busy(Exception):
    """A client's error with the attribute `retry_after`."""

    def __init__(self, retry_after: object) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


class Odd(Exception):
    """An error whose attribute raises when it is read."""

    @property
    def retry_after(self) -> int:
        raise RuntimeError("not now")

    @property
    def headers(self) -> Any:
        raise RuntimeError("not now")


def answered(**headers: str) -> Exception:
    """Return the error that httpx raises for a response with these headers."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("GET", "http://shop.example")
    response = httpx.Response(429, headers=names, request=request)
    return httpx.HTTPStatusError("too many", request=request, response=response)


def with_response(headers: object) -> Exception:
    error = OSError("busy")
    error.response = SimpleNamespace(headers=headers)  # type: ignore[attr-defined]
    return error


def caused(error: Exception, times: int) -> Exception:
    for _ in range(times):
        outer = OSError("wrapped")
        outer.__cause__ = error
        error = outer
    return error


def hint_ms(error: BaseException) -> int:
    return retry_after_ms(error, lambda: NOW_MS)


@pytest.mark.parametrize(
    ("error", "delay_ms"),
    [
        (Busy(7), 7_000),
        (Busy(0.0015), 2),
        (Busy(timedelta(minutes=2)), 120_000),
        (Busy(Duration(9)), 9_000),
        (Busy(Duration(0, 200)), 200),
        (Busy(10**400), WAIT_MS_MAX),
        (answered(Retry_After="30"), 30_000),
        (answered(retry_after=DATE), 90_000),
        (answered(Retry_After=DATE, Date="Thu, 01 Jan 2026 00:01:00 GMT"), 30_000),
        (answered(Retry_After=DATE, Date="yesterday"), 90_000),
        (with_response({"retry-AFTER": " 5 "}), 5_000),
        (caused(Busy(3), CAUSES_MAX - 1), 3_000),
        (caused(answered(Retry_After="4"), 1), 4_000),
    ],
)
def test_a_hint_is_found_wherever_clients_leave_it(error: Exception, delay_ms: int) -> None:
    assert hint_ms(error) == delay_ms


def test_an_error_that_is_a_response_itself_may_hint() -> None:
    headers = Message()
    headers["Retry-After"] = "11"
    with HTTPError("http://shop.example", 503, "busy", headers, None) as error:
        assert hint_ms(error) == 11_000


@pytest.mark.parametrize(
    "error",
    [
        OSError("busy"),
        Odd(),
        *(Busy(each) for each in (None, True, "7", -1, math.nan, math.inf, -math.inf, [7])),
        *(answered(Retry_After=each) for each in ("", "soon", "-5", "nan", "inf", "1 2")),
        answered(Retry_After="Thu, 01 Jan 2020 00:00:00 GMT"),
        with_response(None),
        with_response({"Retry-After": 5, 7: "7"}),
        caused(Busy(3), CAUSES_MAX),
    ],
)
def test_a_hint_that_makes_no_sense_is_as_good_as_none(error: Exception) -> None:
    assert hint_ms(error) == 0


@pytest.mark.parametrize(("hint_s", "waited_ms"), [(30, 30_000), (2, 5_000), (0, 5_000)])
def test_a_step_is_tried_again_no_sooner_than_the_hint(hint_s: int, waited_ms: int) -> None:
    def body(step: StepContext) -> str:
        if step.attempt == 1:
            raise Busy(hint_s)
        return "done"

    config = StepConfig(retry_strategy=RetryPresets.fixed())
    host = Hosted(handler(lambda _, context: context.step(body, config=config)))
    began_ms = host.now_ms
    host.finish()
    assert host.now_ms - began_ms == waited_ms


def test_a_hint_beyond_the_longest_wait_waits_as_long_as_can_be() -> None:
    def body(step: StepContext) -> None:
        raise Busy(10**12)

    host = Hosted(handler(lambda _, context: context.step(body)))
    began_ms = host.now_ms
    assert host.run() == Pending()
    host.pass_time()
    assert host.now_ms == began_ms + WAIT_MS_MAX


def test_a_hint_retries_nothing_that_the_strategy_gives_up() -> None:
    def body(_: StepContext) -> None:
        raise Busy(7)

    config = StepConfig(retry_strategy=RetryPresets.none())
    host = Hosted(handler(lambda _, context: context.step(body, config=config)))
    assert isinstance(host.run(), Failed)
    assert host.history.count("StepFailed") == 1


CONFIG: WithRetryConfig[Any] = WithRetryConfig(retry_strategy=RetryPresets.fixed())


def test_a_block_is_tried_again_no_sooner_than_the_hint() -> None:
    def block(context: DurableContext, attempt: int) -> int:
        if attempt == 1:
            raise Busy(29.5)
        return attempt

    host = Hosted(handler(lambda _, context: with_retry(context, block, CONFIG)))
    began_ms = host.now_ms
    host.finish()
    assert host.now_ms - began_ms == 29_500


def test_a_block_of_an_async_handler_heeds_hints_too() -> None:
    async def block(context: AsyncDurableContext, attempt: int) -> int:
        if attempt == 1:
            raise answered(Retry_After="30")
        return attempt

    async def handle(_: Any, context: AsyncDurableContext) -> int:
        return await with_retry(context, block, CONFIG)

    host = Hosted(async_handler(handle))
    began_ms = host.now_ms
    host.finish()
    assert host.now_ms - began_ms == 30_000
