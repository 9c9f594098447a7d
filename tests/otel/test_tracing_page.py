"""The program on `docs/tracing.md`: it runs, and exports the spans that the page draws."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "tracing.md"


def test_the_program_of_the_page_exports_what_the_page_draws() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    # In a process of its own: a program sets the global provider once. Nobody listens where its
    # exporter sends, so only that is left out.
    program = "\n".join(blocks).replace("OTLPSpanExporter())", "InMemorySpanExporter())")
    first = (
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter"
    )
    output = (
        "print(*(f'{span.name}|{detail(span)}' for span in kept.get_finished_spans()), sep='\\n')"
    )
    describe = "detail = lambda span: (span.attributes or {}).get('order', span.status.description)"
    code = f"{first}\n{program}\n{describe}\n{output}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (drawn,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    spans = [re.sub(r"^[│├└─ ]*", "", line) for line in drawn.splitlines()]
    names = sorted(re.split(r"\s{2,}", span)[0] for span in spans)
    assert sorted(line.partition("|")[0] for line in lines) == names
    assert "charge attempt 1|try again" in lines
    assert "charge attempt 2|7" in lines
