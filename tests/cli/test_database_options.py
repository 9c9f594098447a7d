"""`--db`, `--db-file` and their variables: which wins, what a file may hold, what `ps` shows."""

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from perdure_cli.database_options import FILE_CHARS_MAX
from perdure_cli.main import app

SECRET = "hunter2"
# Nothing listens there, so the place that a command names shows which URL it took.
URL = f"postgresql://{{}}:{SECRET}@127.0.0.1:1/db"


def migrated(*arguments: str, **environment: str) -> str:
    """Run `perdure migrate` where nothing answers; return what it prints."""
    done = CliRunner(env=environment).invoke(app, ["migrate", *arguments])
    assert done.exit_code != 0
    assert SECRET not in done.output
    return done.output


def user(printed: str) -> str:
    found = re.search(r"postgresql://(\w+)@127", printed)
    assert found is not None, printed
    return found[1]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "db"
    path.write_text(f"# The database.\n\n  {URL.format('file')}\n")
    return str(path)


def test_the_url_comes_from_a_file(file: str) -> None:
    assert user(migrated("--db-file", file)) == "file"
    assert user(migrated(PERDURE_DB_FILE=file)) == "file"


def test_an_option_wins_over_a_variable(file: str) -> None:
    assert user(migrated("--db-file", file, PERDURE_DB=URL.format("variable"))) == "file"
    assert user(migrated("--db", URL.format("option"), PERDURE_DB_FILE=file)) == "option"


def test_two_of_a_kind_are_refused(file: str) -> None:
    for printed in (
        migrated("--db", URL.format("option"), "--db-file", file),
        migrated(PERDURE_DB=URL.format("variable"), PERDURE_DB_FILE=file),
    ):
        assert "not by both" in printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", "must hold one line"),
        (f"{URL}\n{SECRET}\n", "must hold one line"),
        ("#" * (FILE_CHARS_MAX + 1), "must hold one line"),
        (SECRET, "not a database's URL"),
    ],
)
def test_a_file_that_does_not_hold_one_url_is_refused_without_being_shown(
    tmp_path: Path, text: str, printed: str
) -> None:
    path = tmp_path / "db"
    path.write_text(text)
    assert printed in migrated("--db-file", str(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in migrated("--db-file", str(tmp_path / "none"))


HIDES = """
import sys
from perdure_cli.database_options import hide_argument
url = sys.argv[1].partition("=")[2]
hide_argument(url)
print(url, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="arguments are hidden on Linux only")
def test_a_url_with_a_password_is_not_shown_by_ps() -> None:
    url = URL.format("me")
    command = [sys.executable, "-c", HIDES, f"--db={url}", url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # The program itself still has it.
        assert process.stdout.readline().strip() == url
        displayed = psutil.Process(process.pid).cmdline()
        assert displayed[3:] == [f"--db={'x' * len(url)}", "x" * len(url)]
        process.stdin.close()
