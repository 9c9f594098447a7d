"""Groups and batches of handlers written with the published AWS SDK, versions 1 and 3.

Each claim compares results and whole histories, row by row. Tolds of branches that run side by side
come in any order, so there it compares each branch, and all rows as a set.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any, Final

import pytest

from tests.hosting.hosted import HostedMachine
from tests.hosting.sdks import hosted_by_each_sdk
from tests.lambda_api.aws_history import (
    EXECUTION_TIMEOUT_S,
    INVOKED,
    LATER_S,
    Told,
    held,
    history,
    started,
    succeeded,
)
from tests.system.processes import ROOT

pytestmark = pytest.mark.timeout(240)

FUNCTIONS: Final = ROOT / "tests" / "lambda_api" / "functions" / "batches.toml"
STEPS: Final = 30
TERMINAL: Final = "ExecutionSucceeded"


hosted = hosted_by_each_sdk(FUNCTIONS, "hosted")


@pytest.fixture
def sdk_is_1(request: pytest.FixtureRequest) -> bool:
    """Tell whether handlers run with version 1 of the SDK."""
    version: str = request.node.callspec.params["hosted"]
    return version == "sdk 1"


@dataclass(frozen=True)
class Operation:
    """An operation that a history should tell of; its path are the counters of its contexts."""

    path: str
    name: str
    sub_type: str
    parent: str = ""

    def row(self, kind: str, **details: Any) -> Told:
        """Return one of its events."""
        return Told(kind, self.path, self.name, self.sub_type, self.parent, details)

    def context(self, result: Any) -> tuple[Told, Told]:
        """Return the events of a context around those of its children."""
        return self.row("ContextStarted"), self.row("ContextSucceeded", Result=recorded(result))

    def step(self, result: Any) -> list[Told]:
        """Return the events of a step that succeeds at once."""
        attempt = {"CurrentAttempt": 1}
        ended = self.row("StepSucceeded", Result=recorded(result), RetryDetails=attempt)
        return [self.row("StepStarted"), ended]


def recorded(value: Any) -> dict[str, Any]:
    """Return how an event holds what a handler made; None stands for the payload "null"."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return held(text)


def failed(message: str) -> dict[str, Any]:
    """Return how an event holds a ValueError."""
    return held({"ErrorMessage": message, "ErrorType": "ValueError"})


def batch_result(row: Told) -> dict[str, Any]:
    """Take the recorded BatchResult out of the end of a map or parallel; return its plain form."""
    wire = json.loads(row.details["Result"].pop("Payload"))
    assert wire["t"] == "br"
    plain: dict[str, Any] = unwrapped(wire)
    return plain


def unwrapped(wire: Any) -> Any:
    """Return what the SDK's envelopes of types and values hold."""
    tag, value = wire["t"], wire["v"]
    if tag in ("m", "br"):
        return {key: unwrapped(each) for key, each in value.items()}
    return [unwrapped(each) for each in value] if tag == "l" else value


def test_child_contexts_nest_and_fail(hosted: HostedMachine, sdk_is_1: bool) -> None:
    invoked = hosted.invoke("nested")
    # Version 1 has no error of its own for child contexts.
    error = "CallableRuntimeError" if sdk_is_1 else "ChildContextError"
    assert invoked.result == [[1, 2], error, "not in here"]
    outer, outer_end = Operation("1", "outer", "RunInChildContext").context([1, 2])
    inner, inner_end = Operation("1-2", "inner", "RunInChildContext", "1").context(2)
    broken = Operation("2", "broken", "RunInChildContext")
    assert history(hosted, invoked.arn) == [
        started(None),
        *(outer, *Operation("1-1", "first step", "Step", "1").step(1)),
        *(inner, *Operation("1-2-1", "deep step", "Step", "1-2").step(2), inner_end),
        outer_end,
        broken.row("ContextStarted"),
        broken.row("ContextFailed", Error=failed("not in here")),
        *(INVOKED, succeeded(invoked.result)),
    ]


def test_a_result_beyond_256_kib_is_made_again_from_its_children(
    hosted: HostedMachine, sdk_is_1: bool
) -> None:
    invoked = hosted.invoke("large_child")
    # Version 1 sends no payload in place of the large one, version 3 sends an empty one.
    missing = {} if sdk_is_1 else {"Result": ""}
    closed = {"type": "CONTEXT", "status": "SUCCEEDED"}
    own_name = invoked.result["state"][0].pop("name")
    assert own_name in invoked.arn
    assert invoked.result["state"] == [
        {"type": "EXECUTION", "status": "STARTED", "context": None},
        {**closed, "name": "small", "context": {"ReplayChildren": False, "Result": "1"}},
        {**closed, "name": "large", "context": {"ReplayChildren": True, **missing}},
        {"name": "piece", "type": "STEP", "status": "SUCCEEDED", "context": None},
        {"name": "rest", "type": "WAIT", "status": "SUCCEEDED", "context": None},
    ]
    assert (invoked.result["size"], invoked.result["kind"]) == (300_000, "x")
    small, small_end = Operation("1", "small", "RunInChildContext").context(1)
    large = Operation("2", "large", "RunInChildContext")
    rest = Operation("3", "rest", "Wait")
    payload = {} if sdk_is_1 else {"Payload": ""}
    *told, end = history(hosted, invoked.arn)
    assert end.kind == TERMINAL
    assert told == [
        started(None),
        *(small, *Operation("1-1", "left out", "Step", "1").step(1), small_end),
        large.row("ContextStarted"),
        *Operation("2-1", "piece", "Step", "2").step('"x"'),
        large.row("ContextSucceeded", Result={**payload, "Truncated": False}),
        *(
            rest.row("WaitStarted", Duration=LATER_S),
            INVOKED,
            rest.row("WaitSucceeded", Duration=LATER_S),
        ),
        INVOKED,
    ]


def test_a_flat_map_sends_the_steps_of_its_items_as_its_own(hosted: HostedMachine) -> None:
    event = {"items": [1, 2], "nesting": "FLAT"}
    invoked = hosted.invoke("maps", event)
    items = [[0, "SUCCEEDED", 2, None], [1, "SUCCEEDED", 4, None]]
    assert invoked.result == {"reason": "ALL_COMPLETED", "items": items}
    first, begun, *steps, ended, invocation, last = history(hosted, invoked.arn)
    assert first == started(event)
    mapped = Operation("1", "doubled", "Map")
    assert begun == mapped.row("ContextStarted")
    for index in range(2):
        step = Operation(f"1-{index}-1", f"double {index}", "Step", "1")
        assert [row for row in steps if row.name == step.name] == step.step(2 * index + 2)
    assert len(steps) == 4
    assert [each["result"] for each in batch_result(ended)["all"]] == [2, 4]
    assert ended == mapped.row("ContextSucceeded", Result={"Truncated": False})
    assert (invocation, last) == (INVOKED, succeeded(invoked.result))


def test_a_nested_map_keeps_a_context_for_each_item(hosted: HostedMachine) -> None:
    event = {"items": [1, 2, 3], "nesting": "NESTED"}
    invoked = hosted.invoke("maps", event)
    assert [item[2] for item in invoked.result["items"]] == [2, 4, 6]
    first, begun, *inside, ended, invocation, last = history(hosted, invoked.arn)
    assert first == started(event)
    mapped = Operation("1", "doubled", "Map")
    assert begun == mapped.row("ContextStarted")
    for index in range(3):
        path = f"1-{index}"
        item = Operation(path, f"map-item-{index}", "MapIteration", "1")
        item_start, item_end = item.context(2 * index + 2)
        step = Operation(f"{path}-1", f"double {index}", "Step", path)
        of_item = {path, step.path}
        own = [row for row in inside if row.place in of_item]
        assert own == [item_start, *step.step(2 * index + 2), item_end]
    assert len(inside) == 12
    recorded = batch_result(ended)
    assert [each["result"] for each in recorded["all"]] == [2, 4, 6]
    assert recorded["completionReason"] == "ALL_COMPLETED"
    assert ended == mapped.row("ContextSucceeded", Result={"Truncated": False})
    assert (invocation, last) == (INVOKED, succeeded(invoked.result))


def checked_items(*names: str) -> list[Told]:
    """Return the events of items that are checked one after the other."""
    found: list[Told] = []
    for index, name in enumerate(names):
        item = Operation(f"1-{index}", f"map-item-{index}", "MapIteration", "1")
        if name == "bad":
            error = failed(f"item {index} is bad")
            found += [item.row("ContextStarted"), item.row("ContextFailed", Error=error)]
        else:
            found += item.context(json.dumps(name))
    return found


def test_a_map_tolerates_as_many_failures_as_it_says(hosted: HostedMachine) -> None:
    event = {"items": ["a", "bad", "c"], "tolerated": 1}
    invoked = hosted.invoke("maps_with_failures", event)
    assert invoked.result == {
        "reason": "ALL_COMPLETED",
        "items": [
            [0, "SUCCEEDED", "a", None],
            [1, "FAILED", None, "item 1 is bad"],
            [2, "SUCCEEDED", "c", None],
        ],
    }
    mapped = Operation("1", "checked", "Map")
    told = history(hosted, invoked.arn)
    assert [each["status"] for each in batch_result(told[-3])["all"]] == [
        *("SUCCEEDED", "FAILED", "SUCCEEDED")
    ]
    assert told == [
        *(started(event), mapped.row("ContextStarted")),
        *checked_items("a", "bad", "c"),
        mapped.row("ContextSucceeded", Result={"Truncated": False}),
        *(INVOKED, succeeded(invoked.result)),
    ]


def test_a_map_without_tolerance_stops_on_its_first_failure(
    hosted: HostedMachine, sdk_is_1: bool
) -> None:
    event = {"items": ["a", "bad", "c"], "tolerated": 0}
    invoked = hosted.invoke("maps_with_failures", event)
    assert invoked.result["reason"] == "FAILURE_TOLERANCE_EXCEEDED"
    first_two = [[0, "SUCCEEDED", "a", None], [1, "FAILED", None, "item 1 is bad"]]
    assert invoked.result["items"][:2] == first_two
    told = history(hosted, invoked.arn)
    mapped = Operation("1", "checked", "Map")
    begin = [started(event), mapped.row("ContextStarted"), *checked_items("a", "bad")]
    assert told[: len(begin)] == begin
    if sdk_is_1:
        # Version 1 may begin the next item before it sees the failure, and leaves it behind.
        assert told[-2:] == [INVOKED, succeeded(invoked.result)]
        return
    assert invoked.result["items"] == first_two
    assert batch_result(told[-3])["completionReason"] == "FAILURE_TOLERANCE_EXCEEDED"
    assert told[len(begin) :] == [
        mapped.row("ContextSucceeded", Result={"Truncated": False}),
        *(INVOKED, succeeded(invoked.result)),
    ]


def test_a_parallel_ends_with_its_first_success(hosted: HostedMachine) -> None:
    invoked = hosted.invoke("races")
    assert invoked.result == {
        "reason": "MIN_SUCCESSFUL_REACHED",
        "items": [[0, "STARTED", None, None], [1, "SUCCEEDED", "fast", None]],
    }
    race = Operation("1", "race", "Parallel")
    tortoise = Operation("1-0", "tortoise", "ParallelBranch", "1")
    long_rest = Operation("1-0-1", "long rest", "Wait", "1-0")
    hare, hare_end = Operation("1-1", "hare", "ParallelBranch", "1").context('"fast"')
    short_rest = Operation("1-1-1", "short rest", "Wait", "1-1")
    told = history(hosted, invoked.arn)
    assert told[:2] == [started(None), race.row("ContextStarted")]
    # Both branches begin side by side, and both wait when the invocation ends.
    begun = told[2:6]
    assert [row for row in begun if row.name in ("tortoise", "long rest")] == [
        *(tortoise.row("ContextStarted"), long_rest.row("WaitStarted", Duration=60))
    ]
    assert [row for row in begun if row.name in ("hare", "short rest")] == [
        *(hare, short_rest.row("WaitStarted", Duration=LATER_S))
    ]
    assert batch_result(told[-3])["completionReason"] == "MIN_SUCCESSFUL_REACHED"
    assert told[6:] == [
        *(INVOKED, short_rest.row("WaitSucceeded", Duration=LATER_S)),
        *Operation("1-1-2", "arrive", "Step", "1-1").step('"fast"'),
        *(hare_end, race.row("ContextSucceeded", Result={"Truncated": False})),
        *(INVOKED, succeeded(invoked.result)),
    ]


def test_a_block_is_retried_after_a_durable_wait(hosted: HostedMachine) -> None:
    invoked = hosted.invoke("retries_a_block")
    assert invoked.result == "done in 2"
    order, order_end = Operation("1", "order", "RunInChildContext").context('"done in 2"')
    backoff = Operation("1-2", "order-backoff-1", "Wait", "1")
    assert history(hosted, invoked.arn) == [
        *(started(None), order),
        *Operation("1-1", "attempt 1", "Step", "1").step(1),
        *(backoff.row("WaitStarted", Duration=LATER_S), INVOKED),
        backoff.row("WaitSucceeded", Duration=LATER_S),
        *Operation("1-3", "attempt 2", "Step", "1").step(2),
        *(order_end, INVOKED, succeeded("done in 2")),
    ]


def test_the_logger_says_each_line_once_over_replays(hosted: HostedMachine) -> None:
    invoked = hosted.invoke("logs", {"mark": "once"})
    lines = [line for line in hosted.lines() if line.get("mark") == "once"]
    assert [line["message"] for line in lines] == [
        *("before the rest", "inside the step", "after the rest")
    ]
    assert {line["executionArn"] for line in lines} == {invoked.arn}
    assert [line.get("operationName") for line in lines] == [None, "telling", None]
    # The invocation that replays is another one, with a request of its own.
    before, inside, after = (line["requestId"] for line in lines)
    assert (before == inside, inside == after) == (True, False)


def test_a_long_history_is_paged_in_both_directions(hosted: HostedMachine) -> None:
    invoked = hosted.invoke("many_steps", {"steps": STEPS})
    steps = [Operation(f"{n + 1}", f"step {n}", "Step").step(n) for n in range(STEPS)]
    assert history(hosted, invoked.arn) == [
        *(started({"steps": STEPS}), *chain.from_iterable(steps)),
        *(INVOKED, succeeded(sum(range(STEPS)))),
    ]
    walk = hosted.client.get_paginator("get_durable_execution_history").paginate
    whole = hosted.events(invoked.arn)
    for size in (5, len(whole), 1000):
        for reverse in (False, True):
            pages = [
                page["Events"]
                for page in walk(
                    DurableExecutionArn=invoked.arn,
                    ReverseOrder=reverse,
                    PaginationConfig={"PageSize": size},
                )
            ]
            # No page but the last is short of what was asked for.
            assert {len(page) for page in pages[:-1]} <= {size}
            events = [event for page in pages for event in page]
            assert events == (whole[::-1] if reverse else whole)
    capped = walk(DurableExecutionArn=invoked.arn, PaginationConfig={"MaxItems": 10})
    first_ten = capped.build_full_result()
    assert first_ten["Events"] == whole[:10]
    again = walk(
        DurableExecutionArn=invoked.arn,
        PaginationConfig={"StartingToken": first_ten["NextToken"]},
    )
    assert again.build_full_result()["Events"] == whole[10:]


def test_the_end_is_in_the_history_once_a_call_returns(hosted: HostedMachine) -> None:
    def ends(number: int) -> tuple[str, Any]:
        invoked = hosted.invoke("many_steps", {"steps": number % 3})
        answer = hosted.client.get_durable_execution_history(
            DurableExecutionArn=invoked.arn, ReverseOrder=True, MaxItems=1
        )
        return answer["Events"][0]["EventType"], invoked.result

    with ThreadPoolExecutor(5) as pool:
        found = [*pool.map(ends, range(20))]
    assert found == [(TERMINAL, sum(range(number % 3))) for number in range(20)]


def test_executions_of_a_function_are_listed(hosted: HostedMachine) -> None:
    arns = [hosted.invoke("many_steps", {"steps": 1}).arn for _ in range(3)]
    walk = hosted.client.get_paginator("list_durable_executions_by_function").paginate
    newest_first = [
        each
        for page in walk(FunctionName="many_steps", PaginationConfig={"PageSize": 2})
        for each in page["DurableExecutions"]
    ]
    assert [each["DurableExecutionArn"] for each in newest_first[:3]] == arns[::-1]
    assert {each["Status"] for each in newest_first} == {"SUCCEEDED"}
    for each in newest_first:
        assert each["DurableExecutionName"] == each["DurableExecutionArn"].split("/")[-2]
        assert each["FunctionArn"].endswith(":function:many_steps:$LATEST")
        assert each["StartTimestamp"] <= each["EndTimestamp"]
    (named,) = hosted.client.list_durable_executions_by_function(
        FunctionName="many_steps", DurableExecutionName=arns[0].split("/")[-2]
    )["DurableExecutions"]
    assert named["DurableExecutionArn"] == arns[0]
    oldest_first = [
        each
        for page in walk(FunctionName="many_steps", ReverseOrder=True)
        for each in page["DurableExecutions"]
    ]
    assert oldest_first == newest_first[::-1]


def test_a_history_without_data_tells_all_but_payloads(hosted: HostedMachine) -> None:
    event = {"items": ["a", "bad"], "tolerated": 1}
    invoked = hosted.invoke("maps_with_failures", event)
    cut = {"Truncated": True}
    mapped = Operation("1", "checked", "Map")
    good = Operation("1-0", "map-item-0", "MapIteration", "1")
    bad = Operation("1-1", "map-item-1", "MapIteration", "1")
    assert history(hosted, invoked.arn, IncludeExecutionData=False) == [
        Told("ExecutionStarted", details={"Input": cut, "ExecutionTimeout": EXECUTION_TIMEOUT_S}),
        mapped.row("ContextStarted"),
        *(good.row("ContextStarted"), good.row("ContextSucceeded", Result=cut)),
        *(bad.row("ContextStarted"), bad.row("ContextFailed", Error=cut)),
        mapped.row("ContextSucceeded", Result=cut),
        *(INVOKED, Told(TERMINAL, details={"Result": cut})),
    ]


def test_times_of_a_history_fit_together(hosted: HostedMachine) -> None:
    invoked = hosted.invoke("retries_a_block")
    events = hosted.events(invoked.arn)
    times = [event["EventTimestamp"] for event in events]
    assert times == sorted(times)
    (begun,) = [event for event in events if event["EventType"] == "WaitStarted"]
    (over,) = [event for event in events if event["EventType"] == "WaitSucceeded"]
    due = begun["WaitStartedDetails"]["ScheduledEndTimestamp"]
    assert begun["EventTimestamp"] + timedelta(seconds=LATER_S) == due <= over["EventTimestamp"]
    ends = [event for event in events if event["EventType"] == "InvocationCompleted"]
    first, second = (event["InvocationCompletedDetails"] for event in ends)
    assert first["RequestId"] != second["RequestId"]
    assert first["StartTimestamp"] <= first["EndTimestamp"] <= ends[0]["EventTimestamp"]
    assert due <= second["StartTimestamp"] <= second["EndTimestamp"] <= ends[1]["EventTimestamp"]


def test_each_version_of_the_sdk_is_under_test(hosted: HostedMachine, sdk_is_1: bool) -> None:
    major = hosted.invoke("sdk_version").result.partition(".")[0]
    assert major == ("1" if sdk_is_1 else "3")
