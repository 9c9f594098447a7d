"""The page on typed values: its examples, run."""

import re
from pathlib import Path
from typing import Any

from perdure.serdes import SerDesContext
from perdure.typed import decode_event, encode_result, serdes_of_result

PAGE = Path(__file__).parents[2] / "docs" / "typed-values.md"


def test_the_program_of_the_page_does_what_the_page_says() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, str(PAGE), "exec"), names)  # the page's own program
    large = names["Size"].LARGE
    order = names["Order"](7, large)
    assert decode_event(names["checkout"], '{"id": 7, "size": "large"}') == order
    assert encode_result(names["checkout"], {107}) == "[107]"
    serdes = serdes_of_result(names["price"])
    assert serdes is not None
    text = serdes.serialize({large: 107}, SerDesContext())
    assert serdes.deserialize(text, SerDesContext()) == {large: 107}
