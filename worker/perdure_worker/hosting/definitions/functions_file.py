"""The file that lists functions to host: one table `[functions.NAME]` for each."""

import tomllib
from pathlib import Path
from typing import Final

from perdure.worker_api import FunctionSettings
from perdure_core.limits import (
    EXECUTION_TIMEOUT_S_MAX,
    FUNCTION_NAME_CHARS_MAX,
    RETENTION_DAYS_DEFAULT,
    RETENTION_DAYS_MAX,
)
from perdure_core.validation import is_function_name
from perdure_host.errors import SettingsError
from perdure_worker.hosting.definitions.definition import (
    ENVIRONMENT_BYTES_MAX,
    HANDLER,
    HANDLER_CHARS_MAX,
    RESERVED,
    TIMEOUT_S_DEFAULT,
    TIMEOUT_S_MAX,
    VARIABLE,
    HostedDefinition,
)
from perdure_worker.hosting.definitions.toml_tables import Table, preview_of

FUNCTIONS_PER_FILE_MAX: Final = 1_000

_DURABLE_ONLY: Final = ("execution_timeout", "retention_days")


def read_functions_file(path: Path) -> list[HostedDefinition]:
    """Return the functions of a TOML file. Imports begin in its folder. Raises SettingsError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    file = Table(str(path), values)
    functions = Table.of(f"{path}: functions", file.value("functions") or {})
    file.close()
    check_count(str(path), len(functions.names()))
    return [_definition(path, name, functions.value(name)) for name in functions.names()]


def check_count(where: str, count: int) -> None:
    """Raise SettingsError unless a file holds a number of functions that a worker may serve."""
    if not 1 <= count <= FUNCTIONS_PER_FILE_MAX:
        raise SettingsError(
            f"{where}: {count:,} functions; 1 to {FUNCTIONS_PER_FILE_MAX:,} are expected"
        )


def check_name(where: str, name: str) -> None:
    """Raise SettingsError unless it can name a function."""
    if not is_function_name(name):
        raise SettingsError(
            f"{where}: the function name {preview_of(name)} is not 1 to {FUNCTION_NAME_CHARS_MAX}"
            " characters of A-Z a-z 0-9 _ -"
        )


def check_handler(table: Table, key: str, handler: str) -> None:
    """Raise SettingsError unless it has Lambda's dotted form."""
    if len(handler) > HANDLER_CHARS_MAX or HANDLER.fullmatch(handler) is None:
        raise table.wrong(
            key, f"MODULE.ATTRIBUTE of at most {HANDLER_CHARS_MAX} characters is expected"
        )


def check_environment(where: str, environment: dict[str, str]) -> None:
    """Raise SettingsError for names that cannot be, or are not for users to set."""
    for name in environment:
        if name in RESERVED:
            raise SettingsError(f"{where}: {name} is set by the worker, and not for a file to set")
        if VARIABLE.fullmatch(name) is None:
            raise SettingsError(
                f"{where}: {preview_of(name)} is not a valid name of a variable:"
                " a letter, then letters, digits and _ are expected"
            )
    size = sum(len(f"{name}{value}".encode()) for name, value in environment.items())
    if size > ENVIRONMENT_BYTES_MAX:
        raise SettingsError(
            f"{where}: names and values are {size:,} bytes;"
            f" at most {ENVIRONMENT_BYTES_MAX:,} are allowed"
        )


def _definition(path: Path, name: str, value: object) -> HostedDefinition:
    where = f"{path}: functions.{name}"
    check_name(where, name)
    table = Table.of(where, value)
    handler = table.text("handler")
    check_handler(table, "handler", handler)
    durable = table.flag("durable", default=True)
    if not durable:
        for key in _DURABLE_ONLY:
            if table.has(key):
                raise SettingsError(
                    f"{where}: {key} is for durable functions, and durable is false"
                )
    settings = FunctionSettings(
        name=name,
        execution_timeout_s=table.number(
            "execution_timeout", EXECUTION_TIMEOUT_S_MAX, least=1, most=EXECUTION_TIMEOUT_S_MAX
        ),
        retention_days=table.number(
            "retention_days", RETENTION_DAYS_DEFAULT, least=1, most=RETENTION_DAYS_MAX
        ),
        tenant_isolation=table.flag("tenant_isolation", default=False),
    )
    definition = HostedDefinition(
        settings=settings,
        handler=handler,
        folder=str(path.resolve().parent),
        timeout_s=table.number("timeout", TIMEOUT_S_DEFAULT, least=1, most=TIMEOUT_S_MAX),
        durable=durable,
        environment=_environment(table.table("environment")),
    )
    table.close()
    return definition


def _environment(table: Table) -> dict[str, str]:
    environment: dict[str, str] = {}
    for name in table.names():
        value = table.value(name)
        # An empty text is a value here.
        if not isinstance(value, str):
            raise table.wrong(name, "a text is expected")
        environment[name] = value
    check_environment(table.where, environment)
    return environment
