"""Trace ids on log records: of the span that made them, and of no other."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext
from perdure.config import ParallelConfig
from perdure.otel import (
    ExecutionOtelPlugin,
    InvocationOtelPlugin,
    OtelContextLogFilter,
    install_log_filter,
)
from perdure.plugin import DurableInstrumentationPlugin, InvocationStartInfo
from perdure.testing import DurableFunctionTestRunner
from tests.otel.traces import VIEWS, Factory, Traces, context_of, id_of
from tests.sdk.recorder import awaiting, blocking


class KeepingHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def ids(self) -> dict[str, tuple[str, str] | None]:
        """Return trace and span by message."""
        return {
            record.getMessage(): (vars(record)["traceId"], vars(record)["spanId"])
            if "traceId" in vars(record)
            else None
            for record in self.records
        }


@pytest.fixture
def log_handler() -> Iterator[KeepingHandler]:
    handler = KeepingHandler()
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(before)
    root.removeHandler(handler)


LOG = logging.getLogger("shop")


def body(context: DurableContext) -> None:
    LOG.info("handler")
    context.step(lambda _: LOG.info("step"), "step")
    context.run_in_child_context(lambda _: LOG.info("child"), "child")
    context.parallel([lambda _: LOG.info("branch")], "both", ParallelConfig())
    thread = threading.Thread(target=LOG.info, args=("thread",))
    thread.start()
    thread.join()


async def async_body(context: AsyncDurableContext) -> None:
    LOG.info("handler")
    await context.step(lambda _: LOG.info("step"), "step")

    async def within(_: object) -> None:
        LOG.info("child")

    async def branch(_: object) -> None:
        LOG.info("branch")

    await context.run_in_child_context(within, "child")
    await context.parallel([branch], "both", ParallelConfig())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("waits", [False, True])
def test_records_name_the_span_that_made_them(
    log_handler: KeepingHandler, view: type[Factory], *, waits: bool
) -> None:
    traces = Traces()
    mine = traces.view(view)
    function = awaiting(async_body, mine) if waits else blocking(body, mine)
    with DurableFunctionTestRunner(function) as runner:
        runner.run(None)
    LOG.info("outside")
    names = {
        "handler": "Invocation",
        "step": "step attempt 1",
        "child": "child",
        "branch": "parallel-branch-0",
    }
    ids = log_handler.ids()
    for message, name in names.items():
        span = traces.all(name)[0]
        assert ids[message] == (f"{context_of(span).trace_id:032x}", f"{id_of(span):016x}"), message
    assert ids["outside"] is None
    assert ids.get("thread") is None
    sampled = {vars(record).get("otelTraceSampled") for record in log_handler.records}
    assert sampled == {True, None}


def test_records_of_executions_side_by_side_are_not_confused(log_handler: KeepingHandler) -> None:
    traces = Traces()
    met = threading.Barrier(2)

    def handle(context: DurableContext) -> Any:
        met.wait(30)
        LOG.info(context.execution_context.durable_execution_arn)

    def run(name: str) -> str:
        function = blocking(handle, traces.view())
        with DurableFunctionTestRunner(function) as runner:
            arn = runner.run_async(None, execution_name=name)
            runner.wait_for_result(arn)
            return arn

    with ThreadPoolExecutor(2) as pool:
        arns = list(pool.map(run, ["one", "two"]))
    by_arn = {
        (span.attributes or {})["durable.execution.arn"]: f"{id_of(span):016x}"
        for span in traces.all("Invocation")
    }
    ids = log_handler.ids()
    for arn in arns:
        found = ids[arn]
        assert found is not None
        assert found[1] == by_arn[arn]


@pytest.mark.parametrize("view", VIEWS)
def test_a_plugin_says_which_span_is_current(view: type[Factory]) -> None:
    traces = Traces()
    factory = traces.view(view)
    plugins: list[ExecutionOtelPlugin | InvocationOtelPlugin] = []
    seen: list[int] = []

    class Keeps:
        def create_plugin(self, info: InvocationStartInfo) -> DurableInstrumentationPlugin:
            plugin = factory.create_plugin(info)
            plugins.append(plugin)
            return plugin

    def look(_: object = None) -> None:
        current = plugins[0].get_current_span_context()
        seen.append(0 if current is None else current.span_id)

    def handle(context: DurableContext) -> None:
        look()
        context.step(look, "one")

    with DurableFunctionTestRunner(blocking(handle, Keeps())) as runner:
        runner.run(None)
    assert seen == [id_of(traces.one("Invocation")), id_of(traces.one("one attempt 1"))]
    assert plugins[0].get_current_span_context() is None


def test_no_filter_is_installed_where_it_is_not_wanted(log_handler: KeepingHandler) -> None:
    traces = Traces()
    function = blocking(body, traces.view(enrich_logger=False))
    with DurableFunctionTestRunner(function) as runner:
        runner.run(None)
    assert log_handler.records
    assert log_handler.filters == []


def test_handlers_share_one_filter_however_often_it_is_installed() -> None:
    logger = logging.Logger("of-its-own")  # noqa: LOG001 - not to be found by others
    assert install_log_filter(logger) is None
    logger.addHandler(KeepingHandler())
    first = install_log_filter(logger)
    assert isinstance(first, OtelContextLogFilter)
    logger.addHandler(KeepingHandler())
    assert install_log_filter(logger) is first
    assert [handler.filters for handler in logger.handlers] == [[first], [first]]
