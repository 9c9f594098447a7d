"""Limits stated by the contract, the page of limits and the SDK: the same as in the code.

A comment of the contract that states a bound names the constant that holds it, as in
`(limit: PAYLOAD_BYTES_MAX)`. So does a line of the page, which has the name as code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from perdure_core import limits
from perdure_gateway.admission import memory_budget, overload
from perdure_host import channel
from perdure_host.sql import listing
from tests.system.processes import ROOT

LIMITS: Final[Mapping[str, int]] = {
    **{name: value for name, value in vars(limits).items() if isinstance(value, int)},
    "BUDGET_BYTES_MAX": memory_budget.BUDGET_BYTES_MAX,
    "CALLS_MAX": overload.CALLS_MAX,
    "MESSAGE_BYTES_MAX": channel.MESSAGE_BYTES_MAX,
    "NAMED_MAX": listing.NAMED_MAX,
    "WAITS_MAX": overload.WAITS_MAX,
    "WALKED_MAX": listing.WALKED_MAX,
}
# Numbers that bound nothing of Perdure's, and what they are.
OTHERS: Final = {"4 MiB": "what gRPC accepts by default"}

CONTRACT: Final = sorted((ROOT / "proto" / "perdure_proto" / "v1").glob("*.proto"))

# The least number that is taken for a bound wherever it stands.
LEAST: Final = 100
NUMBER: Final = r"\d+(?:,\d{3})*"
QUANTITY: Final = re.compile(rf"(?<![\w.,:/\[-])({NUMBER})(?: (KiB|MiB|days|seconds))?(?![\w-])")
# Smaller numbers are bounds in words like these.
STATED: Final = re.compile(
    rf"(?:[Aa]t most|[Uu]p to|\d to) ({NUMBER})(?: (KiB|MiB|days|seconds))?|()({NUMBER}) when 0"
)
NAMES: Final = re.compile(r"\(limits?: ([A-Z_]+(?:, [A-Z_]+)*)\)")
CODE_NAME: Final = re.compile(r"`([A-Z]+(?:_[A-Z]+)+)`")
# A number of bytes in a docstring of the SDK.
BYTES: Final = re.compile(rf"\b({NUMBER}) bytes\b")
COMMENT: Final = re.compile(r"(?:^ *// ?.*\n)+", re.MULTILINE)

SIZES: Final = {"KiB": 1_024, "MiB": 1_024 * 1_024}
SECONDS: Final = {"seconds": 1, "days": 86_400}


class Quantity(NamedTuple):
    """A number and its unit, as a comment states them."""

    number: str
    unit: str

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".rstrip()

    @property
    def value(self) -> int:
        return int(self.number.replace(",", "")) * SIZES.get(self.unit, 1)

    def is_limit(self, name: str) -> bool:
        """Return whether the quantity is the limit of that name, in the unit of the name."""
        factor = 1
        if self.unit in SECONDS and "_S_" in name:
            factor = SECONDS[self.unit]
        if self.unit in SECONDS and "_MS_" in name:
            factor = SECONDS[self.unit] * 1_000
        return LIMITS[name] == self.value * factor


def comments(source: str) -> list[str]:
    """Return every run of comment lines as one text."""
    return [
        " ".join(line.strip().removeprefix("//").strip() for line in run.splitlines())
        for run in COMMENT.findall(source)
    ]


def complaints(comment: str) -> list[str]:
    """Return what is wrong with the bounds of a comment, one line for each."""
    names = [name for found in NAMES.findall(comment) for name in found.split(", ")]
    return misstatements(comment, names, NAMES.sub("", comment))


def misstatements(comment: str, names: list[str], text: str) -> list[str]:
    """Return what is wrong with the bounds in a text, given the limits that it names."""
    unknown = [f"there is no limit {name}: {comment}" for name in names if name not in LIMITS]
    if unknown:
        return unknown
    quantities = [Quantity(*found) for found in QUANTITY.findall(text)]
    unstated = [
        f"{name} is {LIMITS[name]:,}: {comment}"
        for name in names
        if not any(quantity.is_limit(name) for quantity in quantities)
    ]
    return unstated + [
        f"{quantity} is no limit that the comment names: {comment}"
        for quantity in dict.fromkeys(bounds(text))
        if str(quantity) not in OTHERS and not any(quantity.is_limit(name) for name in names)
    ]


def bounds(text: str) -> list[Quantity]:
    """Return the quantities of a comment that are bounds."""
    large = [Quantity(*found) for found in QUANTITY.findall(text)]
    stated = [
        Quantity(number or default, unit or "") for number, unit, _, default in STATED.findall(text)
    ]
    return [quantity for quantity in large if quantity.value >= LEAST] + stated


@pytest.mark.parametrize("file", CONTRACT, ids=lambda file: file.name)
def test_comments_of_the_contract_state_the_bounds_that_the_code_keeps(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    assert [line for comment in comments(source) for line in complaints(comment)] == []


def test_the_page_of_limits_states_the_bounds_that_the_code_keeps() -> None:
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    assert [
        complaint
        for line in page.splitlines()
        for complaint in misstatements(line, CODE_NAME.findall(line), line)
    ] == []
    assert len(CODE_NAME.findall(page)) > 20


def test_sizes_in_docstrings_of_the_sdk_are_limits() -> None:
    files = sorted((ROOT / "sdk").glob("**/*.py"))
    stated = {
        (file.name, size)
        for file in files
        for size in BYTES.findall(file.read_text(encoding="utf-8"))
    }
    known = set(LIMITS.values())
    assert len(stated) > 1
    assert [each for each in stated if Quantity(each[1], "").value not in known] == []


@pytest.mark.parametrize(
    "comment",
    [
        "At most 67,108,864 bytes. (limit: PAYLOAD_BYTES_MAX)",
        "At most 64 MiB. (limit: PAYLOAD_BYTES_MAX)",
        "Seconds, 1 to 31,622,400 (366 days). (limit: EXECUTION_TIMEOUT_S_MAX)",
        "1 to 1,000; 100 when 0. (limits: PAGE_ITEMS_MAX, PAGE_ITEMS_DEFAULT)",
        "At most 900 seconds. (limit: EXECUTION_WAIT_MS_MAX)",
        "1, 2, 3, … without gaps; 1 is the first.",
        "arn:perdure:lambda:NAMESPACE:000000000000:function",
        "1 to 64 characters of [A-Za-z0-9-_]. (limit: OPERATION_ID_CHARS_MAX)",
    ],
)
def test_a_true_comment_passes(comment: str) -> None:
    assert complaints(comment) == []


@pytest.mark.parametrize(
    ("comment", "complaint"),
    [
        ("At most 1,048,576 bytes. (limit: PAYLOAD_BYTES_MAX)", "PAYLOAD_BYTES_MAX is 67,108,864"),
        ("At most 67,108,864 bytes.", "67,108,864 is no limit"),
        ("At most 63 MiB. (limit: PAYLOAD_BYTES_MAX)", "63 MiB is no limit"),
        ("1 to 63 characters.", "63 is no limit"),
        ("1 to 90 days; 15 when 0. (limit: RETENTION_DAYS_MAX)", "15 is no limit"),
        ("At most 365 days. (limit: WAIT_MS_MAX)", "365 days is no limit"),
        ("At most 10. (limit: NEVER_HEARD_OF)", "there is no limit NEVER_HEARD_OF"),
        ("Bytes. (limit: PAYLOAD_BYTES_MAX)", "PAYLOAD_BYTES_MAX is 67,108,864"),
    ],
)
def test_a_false_comment_is_found(comment: str, complaint: str) -> None:
    assert any(line.startswith(complaint) for line in complaints(comment))


def test_every_comment_is_read() -> None:
    assert comments("// One\n// two.\nmessage A {\n  // Three.\n  int32 a = 1;\n}\n") == [
        "One two.",
        "Three.",
    ]
