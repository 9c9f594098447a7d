"""Every file and folder that `docs/architecture.md` names exists, in the part it belongs to."""

import re

from tests.system.processes import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = {
    "SDK": "sdk/perdure",
    "worker": "worker/perdure_worker",
    "gateway": "gateway/perdure_gateway",
    "history": "history_service/perdure_history",
    "matching": "matching_service/perdure_matching",
    "host": "host/perdure_host",
}
PATH = re.compile(r"`([\w/]+(?:/|\.py))`")
# A cell such as: gateway, `workers/dispatcher.py`; history, `worker_calls.py`
PART = re.compile(rf"(?:^|; )(?:or )?({'|'.join(PACKAGES)}), ([^;]+)")


def test_every_file_of_the_walks_exists() -> None:
    cells = re.findall(r"^\| \d+ \| (.+?) \| ", PAGE, flags=re.MULTILINE)
    missing: list[str] = []
    seen = 0
    for cell in cells:
        for part, names in PART.findall(cell):
            folder = ""
            for name in PATH.findall(names):
                folder = name.rpartition("/")[0] or folder
                path = name if "/" in name or not folder else f"{folder}/{name}"
                seen += 1
                if not (ROOT / PACKAGES[part] / path).exists():
                    missing.append(f"{part}: {path}")
    assert missing == []
    assert seen > 25


def test_every_other_path_exists_at_the_root_or_in_a_package() -> None:
    roots = [ROOT, *(ROOT / package for package in PACKAGES.values())]
    outside = "\n".join(line for line in PAGE.splitlines() if not re.match(r"\| \d+ \|", line))
    names = PATH.findall(outside)
    assert len(names) > 30
    assert [name for name in names if not any((root / name).exists() for root in roots)] == []
