"""This checkout beside another, workload by workload, in one run.

    python -m benchmarks.compare OTHER [--rounds N]

OTHER is the folder of another checkout whose environment is set up (`make check-format` there does
it). The two run the workloads in turn, so that a machine that grows slower meanwhile is slower for
both; the last column is the median of the ratios, pair by pair, with their extremes.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

WORKLOADS: Final = Path(__file__).parent / "workloads.py"
RUN_S_MAX: Final = 600

Figures = dict[str, float]


def measured(python: Path | str, checkout: Path) -> Figures:
    """Run the workloads once with a checkout's environment."""
    finished = subprocess.run(
        [str(python), str(WORKLOADS)],
        cwd=checkout,
        check=True,
        capture_output=True,
        timeout=RUN_S_MAX,
    )
    figures: Figures = json.loads(finished.stdout)
    return figures


def table(pairs: list[tuple[Figures, Figures]]) -> list[str]:
    """Return the lines that compare this checkout's figures with the other's."""
    lines = [f"{'':58}{'other':>10}{'this':>10}   this / other"]
    for name in pairs[0][0]:
        others, ours = ([pair[side][name] for pair in pairs] for side in (0, 1))
        ratios = [our / other for our, other in zip(ours, others, strict=True) if other]
        spread = (
            f"{statistics.median(ratios):6.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
            if ratios
            else ""
        )
        medians = f"{statistics.median(others):10.2f}{statistics.median(ours):10.2f}"
        lines.append(f"{name:58}{medians}   {spread}")
    return lines


def main() -> None:
    """Measure both in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    other: Path = options.other.resolve()
    here = Path(__file__).parent.parent
    pairs: list[tuple[Figures, Figures]] = []
    for number in range(options.rounds):
        found = measured(other / ".venv" / "bin" / "python", other)
        pairs.append((found, measured(sys.executable, here)))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    print("\n".join(table(pairs)))


if __name__ == "__main__":
    main()
