"""Reading pages: the actions found in their text."""

import pytest

from tests.docs.page import Execute, Expect, Interrupt, Launch, Type, Write, actions, matches

PAGE = """
This is `shop.py`:

```python
a = 1
```

Start it:

```sh
python3 -m venv .venv && pip install .
perdure dev shop.py  # runs on
perdure invoke order
```

And look, then press Ctrl-C:

```python
print(1)
```

```text
1 …
```

```sh
perdure worker shop.py & echo $! > worker.pid
TABLE=orders perdure worker shop.py
```
"""


def test_blocks_become_what_their_reader_does() -> None:
    assert list(actions(PAGE)) == [
        Write("shop.py", "a = 1\n"),
        Launch("perdure dev shop.py"),
        Type("perdure invoke order"),
        Interrupt(),
        Execute("print(1)\n"),
        Expect("1 …\n"),
        Type("perdure worker shop.py & echo $! > worker.pid"),
        Launch("TABLE=orders perdure worker shop.py"),
    ]


def test_a_block_that_is_never_run_is_refused() -> None:
    with pytest.raises(ValueError, match="'yaml'"):
        list(actions("```yaml\na: 1\n```\n"))


def test_an_ellipsis_stands_for_anything_and_nothing_else_does() -> None:
    assert matches("took … ms\nend", "took  12 ms\n end\n")
    assert not matches("took … ms", "took 12 s")
    assert not matches("a.c", "abc")
