"""`--db` and `--db-file`: which database a command works on.

A password on a command line is shown to everybody who may list the processes of the machine. It
should be in a file or in the environment; where it is not, the URL is overwritten at once in what
the system shows of this process.
"""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from perdure_host.errors import SettingsError

DATABASE_DEFAULT: Final = "sqlite:///perdure.db"
FILE_CHARS_MAX: Final = 10_000
# In the status of a process: the place of its arguments in memory, counted after its name.
_ARGUMENTS_AT: Final = 45

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        envvar="PERDURE_DB",
        metavar="URL",
        show_default=DATABASE_DEFAULT,
        help="The database: sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
    ),
]
DatabaseFileOption = Annotated[
    str | None,
    typer.Option(
        "--db-file",
        envvar="PERDURE_DB_FILE",
        metavar="FILE",
        help="A file with the database's URL, for one that holds a password.",
    ),
]


def database_url(context: typer.Context, db: str | None, db_file: str | None) -> str:
    """Return the URL that the options name; an option wins over an environment variable.

    Raises SettingsError.
    """
    if db is not None:
        hide_argument(db)
    if db is not None and db_file is not None:
        requested = [name for name in ("db", "db_file") if _is_on_command_line(context, name)]
        if len(requested) != 1:
            raise SettingsError("give the database by --db or by --db-file, not by both")
        db, db_file = (db, None) if requested == ["db"] else (None, db_file)
    if db_file is not None:
        return read_database_file(db_file)
    return DATABASE_DEFAULT if db is None else db


def read_database_file(path: str) -> str:
    """Return the URL in a file; lines that begin with `#` are comments. Raises SettingsError."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(FILE_CHARS_MAX + 1)
    except OSError as error:
        raise SettingsError(f"cannot read the database file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the database file {path} is not a text file") from error
    lines = [line.strip() for line in text.splitlines()]
    urls = [line for line in lines if line and not line.startswith("#")]
    if len(urls) != 1 or len(text) > FILE_CHARS_MAX:
        raise SettingsError(
            f"the database file {path} must hold one line, the database's URL, got {len(urls):,}"
        )
    return urls[0]


def hide_argument(text: str) -> None:
    """Overwrite an argument, wherever it stands in the command line that `ps` shows of us.

    Linux only; elsewhere, and where the system forbids it, this does nothing.
    """
    if sys.platform != "linux" or not text.isascii() or "@" not in text:
        return
    secret = text.encode()
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        begin = int(status.rpartition(")")[2].split()[_ARGUMENTS_AT])
        line = Path("/proc/self/cmdline").read_bytes()
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            at = line.find(secret)
            while at >= 0:
                memory.seek(begin + at)
                if memory.read(len(secret)) == secret:
                    memory.seek(begin + at)
                    memory.write(b"x" * len(secret))
                at = line.find(secret, at + len(secret))


def _is_on_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
