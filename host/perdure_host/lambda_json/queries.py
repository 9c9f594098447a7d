"""Query parameters of the Lambda API, parsed by the rules of its model."""

import re
from typing import Final

from perdure_core.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from perdure_core.refusals import Invalid
from perdure_core.text import preview

_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")


def number_of(name: str, text: str, *, least: int, most: int) -> int:
    """Return a numeric parameter, bounds included. Raises Invalid."""
    if _NUMBER.fullmatch(text) is None:
        raise Invalid(f"{name} is {preview(text)}; a number is expected")
    number = int(text)
    if not least <= number <= most:
        raise Invalid(f"{name} is {number:,}; {least:,} to {most:,} are allowed")
    return number


def page_items_of(text: str | None) -> int:
    """Return the page size, from MaxItems; 0 or None is the default. Raises Invalid."""
    if not text:
        return PAGE_ITEMS_DEFAULT
    return number_of("MaxItems", text, least=0, most=PAGE_ITEMS_MAX) or PAGE_ITEMS_DEFAULT
