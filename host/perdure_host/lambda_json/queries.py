"""Query parameters of the Lambda API, read as its model says."""

import re
from typing import Final

from perdure_core.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from perdure_core.refusals import Invalid
from perdure_core.text import preview

_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")


def number_of(name: str, given: str, *, least: int, most: int) -> int:
    """Return a parameter that is a number, bounds included. Raises Invalid."""
    if _NUMBER.fullmatch(given) is None:
        raise Invalid(f"{name} is {preview(given)}; a number is expected")
    number = int(given)
    if not least <= number <= most:
        raise Invalid(f"{name} is {number:,}; {least:,} to {most:,} are allowed")
    return number


def page_items_of(given: str | None) -> int:
    """Return how many items a page may hold, by MaxItems; 0 or none is the default.

    Raises Invalid.
    """
    if not given:
        return PAGE_ITEMS_DEFAULT
    return number_of("MaxItems", given, least=0, most=PAGE_ITEMS_MAX) or PAGE_ITEMS_DEFAULT
