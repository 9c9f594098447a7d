"""The README, followed from its first line to its last, with PostgreSQL where it names one."""

from pathlib import Path

import pytest

from tests.docs.page import Execute, Launch, actions, readdressed
from tests.docs.reader import Reader
from tests.ports import HeldPort
from tests.postgres import PostgresServer
from tests.system.processes import ROOT

PAGE = ROOT / "README.md"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_readme_works_as_it_stands(tmp_path: Path, postgres: PostgresServer) -> None:
    page = PAGE.read_text(encoding="utf-8")
    with Reader(tmp_path) as reader, HeldPort() as metrics:
        addresses = {
            "postgresql://perdure@db/perdure": postgres.create_database(),
            "127.0.0.1:7600": reader.server,
            "--metrics-port 7602": f"--metrics-port {metrics.number}",
        }
        for action in actions(readdressed(page, addresses)):
            reader.follow(action)


def test_the_readme_starts_every_part() -> None:
    done = list(actions(PAGE.read_text(encoding="utf-8")))
    launched = [action.text.split()[1] for action in done if isinstance(action, Launch)]
    assert launched == ["dev", "server", "worker"]
    assert any(isinstance(action, Execute) for action in done)
