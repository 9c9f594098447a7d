"""The command `perdure worker` with files of Lambda handlers: what it refuses at its start."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.processes import COMMAND_S_MAX

GOOD = '[functions.f]\nhandler = "app.handler"\n'


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "perdure_cli", "worker", *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
        env={"COLUMNS": "300"},
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_something_has_to_be_served() -> None:
    assert "at least one MODULE, --functions or --sam is required" in refused()


def test_an_error_in_a_file_names_table_and_key(tmp_path: Path) -> None:
    path = written(tmp_path, "functions.toml", "[functions.f]\n")
    assert f"{path}: functions.f: handler is missing" in refused("--functions", path)
    template = written(tmp_path, "template.yaml", "Resources: {}\n")
    assert f"{template}: 0 functions" in refused("--sam", template)


def test_two_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    one, other = (written(tmp_path, name, GOOD) for name in ("a.toml", "b.toml"))
    message = refused("--functions", one, "--functions", other)
    assert "two functions are named 'f'" in message


@pytest.mark.parametrize("files", [True, False])
def test_a_wrong_endpoint_is_refused(tmp_path: Path, files: bool) -> None:
    path = written(tmp_path, "functions.toml", GOOD)
    options = ["--functions", path] if files else ["json"]
    message = refused(*options, "--lambda-endpoint", "nowhere")
    assert ("is not http(s)://HOST:PORT" if files else "json: no function in it") in message


@pytest.mark.parametrize("missing", ["h11", "yaml"])
def test_a_missing_library_is_reported_with_what_to_install(tmp_path: Path, missing: str) -> None:
    template = "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {Handler: a.b}}}\n"
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['perdure', *sys.argv[1:]]\n"
        "from perdure_cli.main import main; main()"
    )
    path = written(tmp_path, "template.yaml", template)
    done = subprocess.run(
        [sys.executable, "-c", code, "worker", "--sam", path],
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'perdure[lambda]'" in " ".join(done.stderr.split())
