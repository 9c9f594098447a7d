"""The terminal recording of `make demo` as an animated SVG.

    .venv/bin/python docs/images/record_demo.py docs/images/demo.svg

Must stay true: every line and its time come from a real run in a terminal of `COLUMNS` columns.
The only edit is the speed: it plays faster, and pauses are cut to `PAUSE_S_MAX`. Where nothing is
animated, the picture shows the end of the run.
"""

# ruff: noqa: INP001, T201 - a script

import fcntl
import os
import pty
import struct
import sys
import termios
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from rich.console import Console
from rich.text import Text

COLUMNS: Final = 118
ROWS: Final = 24
COMMAND: Final = ("make", "demo")

# 22 s of a run become about 12; then the end stays for people to read.
SPEED: Final = 1.4
PAUSE_S_MAX: Final = 1.1
END_S: Final = 7.0
FRAME_S: Final = 0.1

CELL: Final = (8.0, 19.0)
FONT_SIZE: Final = 13.2
MARGIN: Final = 18.0
BAR: Final = 38.0

CONSOLE: Final = Console()
# The eight colours of ANSI, by their numbers, as dark terminals show them.
COLOURS: Final = (
    *("#6e7681", "#ff7b72", "#56d364", "#e3b341"),
    *("#79c0ff", "#d2a8ff", "#56d4dd", "#e6edf3"),
)
RULE: Final = "#3d444d"

STYLE: Final = """\
text { font-family: ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono",
  monospace; font-size: %(font)spx; white-space: pre; fill: #e6edf3; }
.b { font-weight: 700; } .d { opacity: 0.6; }
#scroll { transform: translateY(%(scroll)spx); animation: scroll %(total).1fs step-end infinite; }
#cover { transform: translateY(%(cover)spx); animation: cover %(total).1fs step-end infinite; }
@media (prefers-reduced-motion: reduce) { #scroll, #cover { animation: none; } }
"""


class Line(NamedTuple):
    """A line of the terminal, and when it was whole."""

    at_s: float
    text: Text


def record() -> Iterator[Line]:
    """Run the command in a terminal of its own, and return its lines as they come."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS))
        os.execvp(COMMAND[0], COMMAND)  # noqa: S606 - it is this very repository's command
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    began_s = time.monotonic()
    yield Line(0.0, Text.assemble(("$ ", "green"), (" ".join(COMMAND), "bold")))
    unfinished = b""
    while chunk := _read(terminal):
        *lines, unfinished = (unfinished + chunk).split(b"\n")
        for line in lines:
            text = Text.from_ansi(line.decode().rstrip("\r"))
            for row in _rows(text):
                yield Line(time.monotonic() - began_s, row)
    _, status = os.waitpid(process, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(COMMAND)} failed with {status}")


def _read(terminal: int) -> bytes:
    """Return what the terminal shows next, or nothing when its last process has ended."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def _rows(text: Text) -> list[Text]:
    """Return a line as a terminal breaks it: at its last column."""
    return list(text.divide(range(COLUMNS, len(text), COLUMNS))) or [text]


def sped_up(lines: list[Line]) -> Iterator[Line]:
    """Return the lines at the times at which the picture shows them."""
    at_s = before_s = 0.0
    for line in lines:
        at_s += min(line.at_s - before_s, PAUSE_S_MAX) / SPEED
        before_s = line.at_s
        yield Line(at_s, line.text)


def draw(lines: list[Line]) -> str:
    """Return the picture: all lines in one column, which scrolls, and a cover over later lines."""
    width = COLUMNS * CELL[0] + 2 * MARGIN
    height = ROWS * CELL[1] + BAR + MARGIN
    total_s = lines[-1].at_s + END_S
    style = STYLE % {
        "font": FONT_SIZE,
        "scroll": _scroll(len(lines)),
        "cover": len(lines) * CELL[1],
        "total": total_s,
    }
    colours = "".join(f".c{n} {{ fill: {colour}; }}\n" for n, colour in enumerate(COLOURS))
    texts = "\n".join(part for row, line in enumerate(lines) for part in _texts(row, line.text))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" \
width="{width:g}" height="{height:g}" role="img" aria-labelledby="title">
<title id="title">A recording of make demo: a worker and a server are killed, and every order \
is processed</title>
<style>
{style}{_keyframes(lines, total_s)}{colours}</style>
<clipPath id="screen"><rect x="0" y="{BAR:g}" width="{width:g}" height="{ROWS * CELL[1]:g}"/>\
</clipPath>
<rect width="{width:g}" height="{height:g}" rx="10" fill="#0d1117"/>
<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="10" fill="none" \
stroke="{RULE}"/>
<circle cx="22" cy="19" r="6" fill="#ff5f57"/><circle cx="42" cy="19" r="6" fill="#febc2e"/>\
<circle cx="62" cy="19" r="6" fill="#28c840"/>
<g clip-path="url(#screen)"><g id="scroll">
{texts}
<rect id="cover" x="1" y="{BAR:g}" width="{width - 2:g}" \
height="{max(len(lines), ROWS) * CELL[1]:g}" fill="#0d1117"/>
</g></g>
</svg>
"""


def _scroll(rows: int) -> float:
    return -max(0, rows - ROWS) * CELL[1]


def _keyframes(lines: list[Line], total_s: float) -> str:
    """Return both animations: how far the column has scrolled, and where the cover begins."""
    shown: dict[float, int] = {}
    for row, line in enumerate(lines):
        shown[round(line.at_s / FRAME_S) * FRAME_S] = row + 1
    frames = [(100 * at_s / total_s, rows) for at_s, rows in sorted(shown.items())]
    frames.append((100.0, len(lines)))
    scroll = "".join(f"{at:.2f}%{{transform:translateY({_scroll(n):g}px)}}" for at, n in frames)
    cover = "".join(f"{at:.2f}%{{transform:translateY({n * CELL[1]:g}px)}}" for at, n in frames)
    return f"@keyframes scroll {{{scroll}}}\n@keyframes cover {{{cover}}}\n"


def _texts(row: int, line: Text) -> Iterator[str]:
    """Return a line in pieces of one style, each at its own column, whatever the font."""
    y = BAR + (row + 0.74) * CELL[1]
    for start, piece in _pieces(line):
        style = line.get_style_at_offset(CONSOLE, start)
        number = style.color.number if style.color else None
        colour = "" if number is None else f"c{number % len(COLOURS)}"
        kinds = [colour, "b" if style.bold else "", "d" if style.dim else ""]
        names = " ".join(filter(None, kinds))
        x, length = MARGIN + start * CELL[0], len(piece) * CELL[0]
        if set(piece) == {"─"}:
            yield f'<path d="M{x:g} {y - 4:g}h{length:g}" stroke="{RULE}"/>'
        else:
            yield (
                f'<text x="{x:g}" y="{y:.1f}" textLength="{length:g}" class="{names}">'
                f"{escape(piece)}</text>"
            )


def _pieces(line: Text) -> Iterator[tuple[int, str]]:
    """Return where each piece of a line begins, and the piece: one style, no gap of two spaces."""
    edges = sorted({0, len(line), *(edge for span in line.spans for edge in span[:2])})
    for start, end in pairwise(edges):
        at = start
        for word in line.plain[start:end].split("  "):
            stripped = word.strip()
            if stripped:
                yield at + len(word) - len(word.lstrip()), stripped
            at += len(word) + 2


def main() -> None:
    """Record the demonstration, and write its picture."""
    lines = list(record())
    picture = draw(list(sped_up(lines)))
    Path(sys.argv[1]).write_text(picture, encoding="utf-8")
    print(f"{len(lines)} lines in {lines[-1].at_s:.0f} s")


if __name__ == "__main__":
    main()
