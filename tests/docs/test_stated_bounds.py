"""The bounds that comments of the contract state are those that the code keeps.

A comment that states a bound names the constant that holds it, as in `(limit: PAYLOAD_BYTES_MAX)`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from perdure_core import limits
from perdure_host import channel
from tests.system.processes import ROOT

LIMITS: Final[Mapping[str, int]] = {
    **{name: value for name, value in vars(limits).items() if isinstance(value, int)},
    "MESSAGE_BYTES_MAX": channel.MESSAGE_BYTES_MAX,
}
# Numbers in comments that bound nothing of ours, and what they are.
OTHERS: Final = {"4 MiB": "what gRPC accepts by default"}

CONTRACT: Final = sorted((ROOT / "proto" / "perdure_proto" / "v1").glob("*.proto"))

# The least number that is taken for a bound wherever it stands.
LEAST: Final = 100
NUMBER: Final = r"\d+(?:,\d{3})*"
QUANTITY: Final = re.compile(rf"(?<![\w.,:/\[-])({NUMBER})(?: (KiB|MiB|days))?(?![\w-])")
# Smaller numbers are bounds in words like these.
STATED: Final = re.compile(
    rf"(?:[Aa]t most|[Uu]p to|\d to) ({NUMBER})(?: (KiB|MiB|days))?|()({NUMBER}) when 0"
)
NAMES: Final = re.compile(r"\(limits?: ([A-Z_]+(?:, [A-Z_]+)*)\)")
COMMENT: Final = re.compile(r"(?:^ *// ?.*\n)+", re.MULTILINE)

UNITS: Final = {"": 1, "KiB": 1_024, "MiB": 1_024 * 1_024, "days": 1}
S_PER_DAY: Final = 86_400


class Quantity(NamedTuple):
    """A number and its unit, as a comment states them."""

    number: str
    unit: str

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".rstrip()

    @property
    def value(self) -> int:
        return int(self.number.replace(",", "")) * UNITS[self.unit]

    def is_limit(self, name: str) -> bool:
        """Return whether the quantity is the limit of that name, in the unit of the name."""
        factor = 1
        if self.unit == "days" and "_S_" in name:
            factor = S_PER_DAY
        if self.unit == "days" and "_MS_" in name:
            factor = S_PER_DAY * 1_000
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
    text = NAMES.sub("", comment)
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


@pytest.mark.parametrize(
    "comment",
    [
        "At most 67,108,864 bytes. (limit: PAYLOAD_BYTES_MAX)",
        "At most 64 MiB. (limit: PAYLOAD_BYTES_MAX)",
        "Seconds, 1 to 31,622,400 (366 days). (limit: EXECUTION_TIMEOUT_S_MAX)",
        "1 to 1,000; 100 when 0. (limits: PAGE_ITEMS_MAX, PAGE_ITEMS_DEFAULT)",
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
