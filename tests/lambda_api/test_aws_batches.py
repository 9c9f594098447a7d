"""Groups and batches of handlers written with the published AWS SDK, versions 1 and 3.

Each test compares results and whole histories, row by row. Events of branches that run side by
side come in any order, so there it compares each branch, and all rows as a set. Time passes only
when a test advances the clock.
"""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import chain
from typing import Any, Final

import pytest

from tests.hosting.paced import PROGRAM, PacedMachine
from tests.lambda_api.aws_history import (
    EXECUTION_TIMEOUT_S,
    INVOKED,
    LATER_S,
    Operation,
    Row,
    batch_result,
    failure,
    history,
    started,
    succeeded,
    success,
)

pytestmark = pytest.mark.timeout(240)

STEPS: Final = 30
TERMINAL: Final = "ExecutionSucceeded"
LARGE: Final = 300_000
HOUR_S: Final = 3_600


def test_child_contexts_nest_and_fail(aws: PacedMachine, sdk_is_1: bool) -> None:
    played = aws.play("nested")
    # Version 1 has no error of its own for child contexts.
    kind = "CallableRuntimeError" if sdk_is_1 else "ChildContextError"
    assert played.result == [[1, 2], {"raised": "not in here", "type": kind}]
    outer, outer_end = Operation("1", "outer", "RunInChildContext").context([1, 2])
    inner, inner_end = Operation("1-2", "inner", "RunInChildContext", "1").context(2)
    assert history(aws, played.arn) == success(
        played,
        *(outer, *Operation("1-1", "first step", "Step", "1").step(1)),
        *(inner, *Operation("1-2-1", "deep step", "Step", "1-2").step(2), inner_end),
        outer_end,
        *Operation("2", "broken", "RunInChildContext").broken(failure("not in here")),
    )


def test_a_virtual_child_context_leaves_its_steps_to_the_handler(aws: PacedMachine) -> None:
    played = aws.play("virtual_child")
    assert played.result == [1, 2]
    assert history(aws, played.arn) == success(
        played,
        *Operation("1-1", "step 1", "Step").step(1),
        *Operation("1-2", "step 2", "Step").step(2),
    )


def test_a_result_beyond_256_kib_is_made_again_from_its_children(
    aws: PacedMachine, sdk_is_1: bool
) -> None:
    played = aws.play_function("large_child", None, LATER_S)
    # Version 1 sends no payload in place of the large one, version 3 sends an empty one.
    missing = {} if sdk_is_1 else {"Result": ""}
    closed = {"type": "CONTEXT", "status": "SUCCEEDED"}
    own_name = played.result["state"][0].pop("name")
    assert own_name in played.arn
    assert played.result["state"] == [
        {"type": "EXECUTION", "status": "STARTED", "context": None},
        {**closed, "name": "small", "context": {"ReplayChildren": False, "Result": "1"}},
        {**closed, "name": "large", "context": {"ReplayChildren": True, **missing}},
        {"name": "piece", "type": "STEP", "status": "SUCCEEDED", "context": None},
        {"name": "rest", "type": "WAIT", "status": "SUCCEEDED", "context": None},
    ]
    assert (played.result["size"], played.result["kind"]) == (300_000, "x")
    small, small_end = Operation("1", "small", "RunInChildContext").context(1)
    large = Operation("2", "large", "RunInChildContext")
    rest = Operation("3", "rest", "Wait")
    payload = {} if sdk_is_1 else {"Payload": ""}
    *rows, end = history(aws, played.arn)
    assert end.kind == TERMINAL
    assert rows == [
        started(played.event),
        *(small, *Operation("1-1", "left out", "Step", "1").step(1), small_end),
        large.row("ContextStarted"),
        *Operation("2-1", "piece", "Step", "2").step('"x"'),
        large.row("ContextSucceeded", Result={**payload, "Truncated": False}),
        *(*rest.waiting(), INVOKED),
    ]


def test_a_map_beyond_256_kib_is_summarised_and_made_again_from_its_items(
    aws: PacedMachine, sdk_is_1: bool
) -> None:
    played = aws.play("large_map", LATER_S)
    assert played.result == [[LARGE // 2, "x"], [LARGE // 2, "y"]]
    items: list[Row] = []
    for index, letter in enumerate("xy"):
        item = Operation(f"1-{index}", f"map-item-{index}", "MapIteration", "1")
        start, ended = item.context(json.dumps(LARGE // 2 * letter))
        step = Operation(f"1-{index}-1", f"read {letter}", "Step", item.place)
        items += [start, *step.step(json.dumps(letter)), ended]
    rows = history(aws, played.arn)
    summary = rows[2 + len(items)].details["Result"].pop("Payload", None)
    # Version 1 sends no summary unless it is given a generator of them.
    assert (summary is None) == sdk_is_1
    if summary is not None:
        assert json.loads(summary) == {
            "type": "MapResult",
            "status": "SUCCEEDED",
            "completionReason": "ALL_COMPLETED",
            "totalCount": 2,
            "successCount": 2,
            "failureCount": 0,
            "startedCount": 0,
            "startedIndexes": [],
        }
    mapped = Operation("1", "pieces", "Map")
    assert rows == success(
        played,
        *(mapped.row("ContextStarted"), *items),
        mapped.row("ContextSucceeded", Result={"Truncated": False}),
        *Operation("2", "rest", "Wait").waiting(),
    )


def test_a_flat_map_sends_the_steps_of_its_items_as_its_own(aws: PacedMachine) -> None:
    played = aws.play("maps", items=[1, 2], nesting="FLAT")
    items = [[0, "SUCCEEDED", 2, None], [1, "SUCCEEDED", 4, None]]
    assert played.result == {"reason": "ALL_COMPLETED", "items": items}
    first, start, *steps, ended, invocation, last = history(aws, played.arn)
    assert first == started(played.event)
    mapped = Operation("1", "doubled", "Map")
    assert start == mapped.row("ContextStarted")
    for index in range(2):
        step = Operation(f"1-{index}-1", f"double {index}", "Step", "1")
        assert [row for row in steps if row.name == step.name] == step.step(2 * index + 2)
    assert len(steps) == 4
    assert [each["result"] for each in batch_result(ended)["all"]] == [2, 4]
    assert ended == mapped.row("ContextSucceeded", Result={"Truncated": False})
    assert (invocation, last) == (INVOKED, succeeded(played.result))


def test_a_nested_map_keeps_a_context_for_each_item(aws: PacedMachine) -> None:
    played = aws.play("maps", items=[1, 2, 3], nesting="NESTED")
    assert [item[2] for item in played.result["items"]] == [2, 4, 6]
    first, start, *inside, ended, invocation, last = history(aws, played.arn)
    assert first == started(played.event)
    mapped = Operation("1", "doubled", "Map")
    assert start == mapped.row("ContextStarted")
    for index in range(3):
        path = f"1-{index}"
        item = Operation(path, f"map-item-{index}", "MapIteration", "1")
        item_start, item_end = item.context(2 * index + 2)
        step = Operation(f"{path}-1", f"double {index}", "Step", path)
        of_item = {path, step.place}
        own = [row for row in inside if row.place in of_item]
        assert own == [item_start, *step.step(2 * index + 2), item_end]
    assert len(inside) == 12
    recorded = batch_result(ended)
    assert [each["result"] for each in recorded["all"]] == [2, 4, 6]
    assert recorded["completionReason"] == "ALL_COMPLETED"
    assert ended == mapped.row("ContextSucceeded", Result={"Truncated": False})
    assert (invocation, last) == (INVOKED, succeeded(played.result))


GOOD: Final = "SUCCEEDED"
BAD: Final = "FAILED"
UNTOLERATED: Final = "FAILURE_TOLERANCE_EXCEEDED"
# What is checked, the policy, how many are checked then, and why no more.
POLICIES: Final[list[tuple[tuple[str, ...], dict[str, int], int, str]]] = [
    (("a", "bad", "c"), {"tolerated_failure_count": 1}, 3, "ALL_COMPLETED"),
    (("a", "bad", "bad", "c"), {"tolerated_failure_percentage": 50}, 4, "ALL_COMPLETED"),
    (("a", "bad", "bad", "c"), {"tolerated_failure_count": 1}, 3, UNTOLERATED),
    (("bad", "bad", "c"), {"tolerated_failure_percentage": 40}, 2, UNTOLERATED),
    (("a", "bad", "c"), {}, 2, UNTOLERATED),
    (("a", "b", "c"), {"min_successful": 2}, 2, "MIN_SUCCESSFUL_REACHED"),
    (("bad", "a", "c"), {"min_successful": 1}, 2, "MIN_SUCCESSFUL_REACHED"),
]


def checked_items(by: str, nesting: str, names: tuple[str, ...]) -> list[Row]:
    """Return the events of items that are checked one after the other."""
    found: list[Row] = []
    for index, name in enumerate(names):
        item = (
            Operation(f"1-{index}", f"map-item-{index}", "MapIteration", "1")
            if by == "map"
            else Operation(f"1-{index}", f"branch {name}", "ParallelBranch", "1")
        )
        is_flat = nesting == "FLAT"
        read = Operation(f"1-{index}-1", f"read {name}", "Step", "1" if is_flat else item.place)
        text = json.dumps(name)
        ends = item.broken(failure("it is bad")) if name == "bad" else item.context(text)
        step = read.step(text)
        found += step if is_flat else [ends[0], *step, ends[1]]
    return found


@pytest.mark.parametrize("nesting", ["NESTED", "FLAT"])
@pytest.mark.parametrize("by", ["map", "parallel"])
@pytest.mark.parametrize(("items", "completion", "checked", "reason"), POLICIES)
def test_a_batch_goes_on_for_as_long_as_its_policy_says(
    aws: PacedMachine,
    sdk_is_1: bool,
    by: str,
    nesting: str,
    items: tuple[str, ...],
    completion: dict[str, int],
    checked: int,
    reason: str,
) -> None:
    played = aws.play("checks", by=by, nesting=nesting, items=items, completion=completion)
    rows = history(aws, played.arn)
    batch = Operation("1", "checked", "Map" if by == "map" else "Parallel")
    inside = checked_items(by, nesting, items[:checked])
    begin = [started(played.event), batch.row("ContextStarted"), *inside]
    ends = [
        [index, BAD, None, "it is bad"] if name == "bad" else [index, GOOD, name, None]
        for index, name in enumerate(items[:checked])
    ]
    if sdk_is_1 and checked < len(items):
        # Version 1 may begin the next item before it sees why not, and leaves it behind.
        assert rows[: len(begin) - 1] == begin[:-1]
        assert rows[-2:] == [INVOKED, succeeded(played.result)]
        assert played.result["items"][: checked - 1] == ends[:-1]
        return
    assert played.result == {"reason": reason, "items": ends}
    recorded = batch_result(rows[-3])
    assert recorded["completionReason"] == reason
    assert [each["status"] for each in recorded["all"]] == [end[1] for end in ends]
    assert rows == [
        *(*begin, batch.row("ContextSucceeded", Result={"Truncated": False})),
        *(INVOKED, succeeded(played.result)),
    ]


@pytest.mark.parametrize("outcome", ["SUCCEEDED", "FAILED"])
def test_a_predicate_completes_a_batch(aws: PacedMachine, sdk_is_1: bool, outcome: str) -> None:
    if sdk_is_1:
        pytest.skip("version 1 knows no predicates")
    played = aws.play("stops_by_predicate", after=2, outcome=outcome)
    reason = f"CUSTOM_COMPLETION_{outcome}"
    assert played.result == {"reason": reason, "items": [[0, GOOD, 1, None], [1, GOOD, 2, None]]}
    rows = history(aws, played.arn)
    assert batch_result(rows[-3])["completionReason"] == reason
    batch = Operation("1", "checked", "Map")
    assert rows == success(
        played,
        batch.row("ContextStarted"),
        *Operation("1-0", "map-item-0", "MapIteration", "1").context(1),
        *Operation("1-1", "map-item-1", "MapIteration", "1").context(2),
        batch.row("ContextSucceeded", Result={"Truncated": False}),
    )


def test_a_parallel_ends_with_its_first_success(aws: PacedMachine) -> None:
    played = aws.play("races", LATER_S)
    assert played.result == {
        "reason": "MIN_SUCCESSFUL_REACHED",
        "items": [[0, "STARTED", None, None], [1, "SUCCEEDED", "fast", None]],
    }
    race = Operation("1", "race", "Parallel")
    tortoise = Operation("1-0", "tortoise", "ParallelBranch", "1")
    long_rest = Operation("1-0-1", "long rest", "Wait", "1-0")
    hare, hare_end = Operation("1-1", "hare", "ParallelBranch", "1").context('"fast"')
    short_rest = Operation("1-1-1", "short rest", "Wait", "1-1")
    rows = history(aws, played.arn)
    assert rows[:2] == [started(played.event), race.row("ContextStarted")]
    # Both branches begin side by side, and both wait when the invocation ends.
    start = rows[2:6]
    assert [row for row in start if row.name in ("tortoise", "long rest")] == [
        *(tortoise.row("ContextStarted"), long_rest.row("WaitStarted", Duration=HOUR_S))
    ]
    assert [row for row in start if row.name in ("hare", "short rest")] == [
        *(hare, short_rest.row("WaitStarted", Duration=LATER_S))
    ]
    assert batch_result(rows[-3])["completionReason"] == "MIN_SUCCESSFUL_REACHED"
    assert rows[6:] == [
        *(INVOKED, short_rest.row("WaitSucceeded", Duration=LATER_S)),
        *Operation("1-1-2", "arrive", "Step", "1-1").step('"fast"'),
        *(hare_end, race.row("ContextSucceeded", Result={"Truncated": False})),
        *(INVOKED, succeeded(played.result)),
    ]


def test_a_block_is_retried_after_a_durable_wait(aws: PacedMachine) -> None:
    played = aws.play("retries_a_block", LATER_S)
    assert played.result == "done in 2"
    order, order_end = Operation("1", "order", "RunInChildContext").context('"done in 2"')
    backoff = Operation("1-2", "order-backoff-1", "Wait", "1")
    assert history(aws, played.arn) == [
        *(started(played.event), order),
        *Operation("1-1", "attempt 1", "Step", "1").step(1),
        *backoff.waiting(),
        *Operation("1-3", "attempt 2", "Step", "1").step(2),
        *(order_end, INVOKED, succeeded("done in 2")),
    ]


def test_the_logger_says_each_line_once_over_replays(aws: PacedMachine) -> None:
    mark = uuid.uuid4().hex
    played = aws.play("logs", LATER_S, mark=mark)
    lines = [line for line in aws.lines() if line.get("mark") == mark]
    assert [line["message"] for line in lines] == [
        *("before the rest", "inside the step", "after the rest")
    ]
    assert {line["executionArn"] for line in lines} == {played.arn}
    assert [line.get("operationName") for line in lines] == [None, "telling", None]
    # The invocation that replays is another one, with a request of its own.
    before, inside, after = (line["requestId"] for line in lines)
    assert (before == inside, inside == after) == (True, False)


def test_a_long_history_is_paged_in_both_directions(aws: PacedMachine) -> None:
    played = aws.play("many_steps", steps=STEPS)
    steps = [Operation(f"{n + 1}", f"step {n}", "Step").step(n) for n in range(STEPS)]
    assert played.result == sum(range(STEPS))
    assert history(aws, played.arn) == success(played, *chain.from_iterable(steps))
    walk = aws.client.get_paginator("get_durable_execution_history").paginate
    whole = aws.events(played.arn)
    for size in (5, len(whole), 1000):
        for reverse in (False, True):
            pages = [
                page["Events"]
                for page in walk(
                    DurableExecutionArn=played.arn,
                    ReverseOrder=reverse,
                    PaginationConfig={"PageSize": size},
                )
            ]
            # No page but the last is short of what was asked for.
            assert {len(page) for page in pages[:-1]} <= {size}
            events = [event for page in pages for event in page]
            assert events == (whole[::-1] if reverse else whole)
    capped = walk(DurableExecutionArn=played.arn, PaginationConfig={"MaxItems": 10})
    first_ten = capped.build_full_result()
    assert first_ten["Events"] == whole[:10]
    again = walk(
        DurableExecutionArn=played.arn,
        PaginationConfig={"StartingToken": first_ten["NextToken"]},
    )
    assert again.build_full_result()["Events"] == whole[10:]


def test_the_end_is_in_the_history_once_a_call_returns(aws: PacedMachine) -> None:
    def ends(number: int) -> tuple[str, Any]:
        event = {"program": "many_steps", "steps": number % 3}
        invoked = aws.invoke(PROGRAM, event)
        answer = aws.client.get_durable_execution_history(
            DurableExecutionArn=invoked.arn, ReverseOrder=True, MaxItems=1
        )
        return answer["Events"][0]["EventType"], invoked.result

    with ThreadPoolExecutor(5) as pool:
        found = [*pool.map(ends, range(20))]
    assert found == [(TERMINAL, sum(range(number % 3))) for number in range(20)]


def test_executions_of_a_function_are_listed(aws: PacedMachine) -> None:
    arns: list[str] = []
    for _ in range(3):
        arns.append(aws.play_function("listed", {"program": "many_steps", "steps": 1}).arn)
        aws.move(1)
    walk = aws.client.get_paginator("list_durable_executions_by_function").paginate
    newest_first = [
        each
        for page in walk(FunctionName="listed", PaginationConfig={"PageSize": 2})
        for each in page["DurableExecutions"]
    ]
    assert [each["DurableExecutionArn"] for each in newest_first[:3]] == arns[::-1]
    assert {each["Status"] for each in newest_first} == {"SUCCEEDED"}
    for each in newest_first:
        assert each["DurableExecutionName"] == each["DurableExecutionArn"].split("/")[-2]
        assert each["FunctionArn"].endswith(":function:listed:$LATEST")
        assert each["StartTimestamp"] <= each["EndTimestamp"]
    (named,) = aws.client.list_durable_executions_by_function(
        FunctionName="listed", DurableExecutionName=arns[0].split("/")[-2]
    )["DurableExecutions"]
    assert named["DurableExecutionArn"] == arns[0]
    oldest_first = [
        each
        for page in walk(FunctionName="listed", ReverseOrder=True)
        for each in page["DurableExecutions"]
    ]
    assert oldest_first == newest_first[::-1]


def test_a_history_without_data_tells_all_but_payloads(aws: PacedMachine) -> None:
    event = {"by": "map", "nesting": "NESTED", "items": ["a", "bad"]}
    played = aws.play("checks", completion={"tolerated_failure_count": 1}, **event)
    cut = {"Truncated": True}
    mapped = Operation("1", "checked", "Map")
    good = Operation("1-0", "map-item-0", "MapIteration", "1")
    bad = Operation("1-1", "map-item-1", "MapIteration", "1")

    def read(step: Operation) -> list[Row]:
        ended = step.row("StepSucceeded", Result=cut, RetryDetails={"CurrentAttempt": 1})
        return [step.row("StepStarted"), ended]

    assert history(aws, played.arn, IncludeExecutionData=False) == [
        Row("ExecutionStarted", details={"Input": cut, "ExecutionTimeout": EXECUTION_TIMEOUT_S}),
        mapped.row("ContextStarted"),
        *(good.row("ContextStarted"), *read(Operation("1-0-1", "read a", "Step", "1-0"))),
        *(good.row("ContextSucceeded", Result=cut), bad.row("ContextStarted")),
        *(
            *read(Operation("1-1-1", "read bad", "Step", "1-1")),
            bad.row("ContextFailed", Error=cut),
        ),
        mapped.row("ContextSucceeded", Result=cut),
        *(INVOKED, Row(TERMINAL, details={"Result": cut})),
    ]


def test_times_of_a_history_fit_together(aws: PacedMachine) -> None:
    played = aws.play("retries_a_block", LATER_S)
    events = aws.events(played.arn)
    times = [event["EventTimestamp"] for event in events]
    assert times == sorted(times)
    (start,) = [event for event in events if event["EventType"] == "WaitStarted"]
    (over,) = [event for event in events if event["EventType"] == "WaitSucceeded"]
    due = start["WaitStartedDetails"]["ScheduledEndTimestamp"]
    assert start["EventTimestamp"] + timedelta(seconds=LATER_S) == due <= over["EventTimestamp"]
    ends = [event for event in events if event["EventType"] == "InvocationCompleted"]
    first, second = (event["InvocationCompletedDetails"] for event in ends)
    assert first["RequestId"] != second["RequestId"]
    assert first["StartTimestamp"] <= first["EndTimestamp"] <= ends[0]["EventTimestamp"]
    assert due <= second["StartTimestamp"] <= second["EndTimestamp"] <= ends[1]["EventTimestamp"]


def test_each_version_of_the_sdk_is_under_test(aws: PacedMachine, sdk_is_1: bool) -> None:
    major = aws.invoke("sdk_version").result.partition(".")[0]
    assert major == ("1" if sdk_is_1 else "3")
