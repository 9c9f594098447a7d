"""The TOML file that lists the functions to host: what it can contain, and errors in it."""

from pathlib import Path

import pytest

from perdure.worker_api import FunctionSettings
from perdure_host.errors import SettingsError
from perdure_worker.hosting.definitions.definition import HostedDefinition
from perdure_worker.hosting.definitions.functions_file import (
    FUNCTIONS_PER_FILE_MAX,
    read_functions_file,
)

WHOLE = """
[functions.OrderProcessor]
handler = "package.module.attribute"
timeout = 90
durable = true
execution_timeout = 300
retention_days = 7
tenant_isolation = true
[functions.OrderProcessor.environment]
TABLE = "orders"
EMPTY = ""
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "functions.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_says_something(tmp_path: Path) -> None:
    assert read_functions_file(written(tmp_path, WHOLE)) == [
        HostedDefinition(
            settings=FunctionSettings(
                "OrderProcessor", execution_timeout_s=300, retention_days=7, tenant_isolation=True
            ),
            handler="package.module.attribute",
            folder=str(tmp_path.resolve()),
            timeout_s=90,
            durable=True,
            environment={"TABLE": "orders", "EMPTY": ""},
        )
    ]


def test_a_handler_is_enough(tmp_path: Path) -> None:
    (function,) = read_functions_file(written(tmp_path, '[functions.f]\nhandler = "app.handler"'))
    assert (function.timeout_s, function.durable) == (60, True)
    assert function.settings == FunctionSettings("f", 31_622_400, 14, tenant_isolation=False)


def test_functions_keep_the_order_of_the_file(tmp_path: Path) -> None:
    tables = "".join(f'[functions.{name}]\nhandler = "app.{name}"\n' for name in "cab")
    names = [function.settings.name for function in read_functions_file(written(tmp_path, tables))]
    assert names == ["c", "a", "b"]


F = "[functions.f]\n"
H = F + 'handler = "app.handler"\n'
BOUNDS = "a whole number of"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ": 0 functions; 1 to 1,000 are expected"),
        ("[functions]\n", ": 0 functions; 1 to 1,000 are expected"),
        ("functions = 1\n", ": functions is 1; a table is expected"),
        ("[function.f]\n", ": unknown key 'function'; did you mean functions?"),
        ("[functions", ": not TOML: "),
        (F, ": functions.f: handler is missing"),
        ("[functions]\nf = 1\n", ": functions.f is 1; a table is expected"),
        (F + "handler = 1\n", ": functions.f: handler is 1; a text is expected"),
        (F + 'handler = ""\n', ": functions.f: handler is ''; a text is expected"),
        (F + 'handler = "app"\n', ": functions.f: handler is 'app'; MODULE.ATTRIBUTE of at most"),
        (F + 'handler = "app."\n', ": functions.f: handler is 'app.'; MODULE.ATTRIBUTE"),
        (F + 'handler = ".h"\n', ": functions.f: handler is '.h'; MODULE.ATTRIBUTE"),
        (F + f'handler = "{"a" * 127}.h"\n', "MODULE.ATTRIBUTE of at most 128 characters"),
        (H + "tiemout = 1\n", ": functions.f: unknown key 'tiemout'; did you mean timeout?"),
        (H + "zzz = 1\n", "; known are durable, environment, execution_timeout, handler, "),
        (H + 'timeout = "1"\n', f": functions.f: timeout is '1'; {BOUNDS} 1 to 900"),
        (H + "timeout = true\n", f": functions.f: timeout is True; {BOUNDS} 1 to 900"),
        (H + "timeout = 0\n", f": functions.f: timeout is 0; {BOUNDS} 1 to 900"),
        (H + "timeout = 901\n", f": functions.f: timeout is 901; {BOUNDS} 1 to 900"),
        (H + "timeout = 1.5\n", f": functions.f: timeout is 1.5; {BOUNDS} 1 to 900"),
        (H + "execution_timeout = 31622401\n", f"; {BOUNDS} 1 to 31,622,400 is expected"),
        (H + "retention_days = 91\n", f"retention_days is 91; {BOUNDS} 1 to 90 is expected"),
        (H + "durable = 1\n", ": functions.f: durable is 1; true or false is expected"),
        (H + "durable = false\nretention_days = 1\n", "retention_days is for durable functions"),
        (H + "durable = false\nexecution_timeout = 1\n", "execution_timeout is for durable func"),
        (H + 'tenant_isolation = "no"\n', "tenant_isolation is 'no'; true or false is expected"),
        (H + "environment = 1\n", ": functions.f.environment is 1; a table is expected"),
        (H + "[functions.f.environment]\nA1 = 1\n", "f.environment: A1 is 1; a text is expected"),
        (
            H + "[functions.f.environment]\n1A = 'x'\n",
            "environment: '1A' is not a valid name of a variable",
        ),
        (
            H + "[functions.f.environment]\n_HANDLER = 'x'\n",
            ": functions.f.environment: _HANDLER is set by the worker",
        ),
        (
            H + "[functions.f.environment]\nAWS_ENDPOINT_URL_LAMBDA = 'x'\n",
            ": functions.f.environment: AWS_ENDPOINT_URL_LAMBDA is set by the worker",
        ),
        (
            H + f"[functions.f.environment]\nBIG = '{'x' * 4_094}'\n",
            "f.environment: names and values are 4,097 bytes; at most 4,096 are allowed",
        ),
        ("[functions.'a b']\n", "functions.a b: the function name 'a b' is not 1 to 64"),
        (f"[functions.{'x' * 65}]\n", "is not 1 to 64 characters of A-Z a-z 0-9 _ -"),
    ],
)
def test_errors_name_file_table_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as raised:
        read_functions_file(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert complaint in str(raised.value)


@pytest.mark.parametrize("timeout", [1, 900])
def test_bounds_are_allowed(tmp_path: Path, timeout: int) -> None:
    (function,) = read_functions_file(written(tmp_path, f"{H}timeout = {timeout}\n"))
    assert function.timeout_s == timeout


def test_an_environment_may_fill_its_bound(tmp_path: Path) -> None:
    path = written(tmp_path, f"{H}[functions.f.environment]\nBIG = '{'x' * 4_093}'\n")
    assert len(read_functions_file(path)[0].environment["BIG"]) == 4_093


def test_a_file_lists_so_many_functions(tmp_path: Path) -> None:
    table = '[functions.f{}]\nhandler = "app.handler"\n'
    full = "".join(table.format(number) for number in range(FUNCTIONS_PER_FILE_MAX))
    assert len(read_functions_file(written(tmp_path, full))) == FUNCTIONS_PER_FILE_MAX
    with pytest.raises(SettingsError, match="1,001 functions; 1 to 1,000 are expected"):
        read_functions_file(written(tmp_path, full + table.format("one_more")))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: No such file or directory"):
        read_functions_file(tmp_path / "none.toml")
