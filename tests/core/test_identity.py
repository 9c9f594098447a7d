"""ARNs, ids and buckets: their values must never change, since they are stored."""

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from perdure_core.identity import ExecutionIdentity, arn_of, bucket_of, child_identity, parse_arn
from perdure_core.limits import ARN_CHARS_MAX, BUCKETS, EXECUTION_NAME_CHARS_MAX
from perdure_core.refusals import Invalid

ID = "0123456789abcdef0123456789abcdef"
ORDER = ExecutionIdentity("default", "order", "order-7", ID)
ARN = (
    "arn:perdure:lambda:default:000000000000:function:order:$LATEST"
    "/durable-execution/order-7/0123456789abcdef0123456789abcdef"
)

identifiers = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
identities = st.builds(
    ExecutionIdentity,
    namespace=st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True),
    function=identifiers,
    name=identifiers,
    execution_id=st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
)


def test_an_arn_is_spelled_like_this() -> None:
    assert arn_of(ORDER) == ARN


@given(identities)
@settings(max_examples=50)
def test_an_arn_tells_the_whole_identity(identity: ExecutionIdentity) -> None:
    arn = arn_of(identity)
    assert len(arn) <= ARN_CHARS_MAX
    assert parse_arn(arn) == identity


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "order-7",
        ARN.replace("perdure", "aws"),
        ARN.replace("default", "Default"),
        ARN.replace("default", ""),
        ARN.replace("order:", "or der:"),
        ARN.replace("$LATEST", "7"),
        ARN.replace("order-7", "order/7"),
        ARN.replace("order-7", "o" * 65),
        ARN.replace(ID, ID.upper()),
        ARN.replace(ID, ID[1:]),
        ARN + "\n",
        " " + ARN,
        "x" * 100_000,
    ],
)
def test_a_malformed_arn_is_refused_by_name(malformed: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_arn(malformed)
    assert repr(malformed[:200])[:-1] in str(refused.value)
    assert "expected arn:perdure:lambda:NAMESPACE" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("place", "bucket"),
    [
        (("default", "order", "order-7"), 2582),
        (("default", "order", "order-8"), 1199),
        (("staging", "order", "order-7"), 868),
        (("default", "o", "rder"), 621),
    ],
)
def test_a_bucket_never_changes(place: Any, bucket: int) -> None:
    assert bucket_of(*place) == bucket


def test_names_spread_evenly_over_the_buckets() -> None:
    counts = Counter(bucket_of("default", "order", f"order-{n}") for n in range(20 * BUCKETS))
    assert set(counts) == set(range(BUCKETS))
    # A fair throw of the dice leaves about 20 ± 4.5 in each; six sigmas are 47.
    assert max(counts.values()) <= 48


def test_a_child_is_the_same_each_time_it_is_asked_for() -> None:
    child = child_identity(ORDER, "invoke-1", "charge")
    assert child == child_identity(ORDER, "invoke-1", "charge")
    assert child.execution_id == "fa2e57b5797839f7f0a3c760592bb2ea"
    assert parse_arn(arn_of(child)) == child


def test_children_of_different_operations_or_parents_are_different() -> None:
    other_parent = ExecutionIdentity("default", "order", "order-7", "f" * 32)
    children = [
        child_identity(parent, operation_id, "charge")
        for parent in (ORDER, other_parent)
        for operation_id in ("invoke-1", "invoke-2")
    ]
    assert len({child.execution_id for child in children}) == 4
    assert len({child.name for child in children}) == 4


def test_a_child_fits_the_bound_of_names_whatever_its_parent_is_called() -> None:
    parent = ExecutionIdentity("default", "f" * 64, "n" * 64, ID)
    child = child_identity(parent, "o" * 64, "g" * 64)
    assert len(child.name) == EXECUTION_NAME_CHARS_MAX
    assert parse_arn(arn_of(child)) == child
