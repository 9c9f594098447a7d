"""The files and folders that CONTRIBUTING.md names: each exists."""

import re

from tests.system.processes import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FOLDERS = "cli|core|docs|gateway|history_service|host|matching_service|proto|sdk|tests|worker"
PATH = re.compile(rf"[`(]((?:{FOLDERS})/[\w./]+)[`)]")


def test_every_path_that_the_page_names_exists() -> None:
    paths = PATH.findall(PAGE)
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []
