"""A reader who follows a page to the letter, in a folder of its own, with real servers.

Must stay true: only addresses differ from those on the page; and the reader waits before typing
on: until the server is ready, the worker has come back, the callback is open.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from perdure import Client, ClientError
from tests.docs.page import Action, Execute, Expect, Interrupt, Launch, Type, Write, matches
from tests.ports import HeldPort
from tests.system.processes import POLL_S, wait_until

COMMANDS_S_MAX: Final = 90.0
STOP_S_MAX: Final = 60.0

# What shows that a command or a program needs a callback that is open.
CALLBACK_MARKS: Final = ("open_callbacks", "open_callback)", "# it waits for a callback")

# Servers of several tests, and of people, run on one machine, so each gets ports of its own.
_COMMAND: Final = """\
#!/bin/sh
case $1 in
    dev | server) exec "{python}" -m perdure_cli "$@" --grpc {grpc} --http {http} ;;
    *) exec "{python}" -m perdure_cli "$@" ;;
esac
"""


class Reader:
    """A folder, a shell in it, and terminals where commands run on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "new"
        self._ports = (HeldPort(), HeldPort())
        self.server, self.http = map(str, self._ports)
        self._logs = folder
        self._printed = ""
        self._serving = ""
        self._terminals: list[subprocess.Popen[bytes]] = []
        self._environment = self._prepare(folder / "bin")
        self._shell = self._open_shell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in [self._shell, *self._terminals]:
            _signal_all(process, signal.SIGKILL)
            process.wait(STOP_S_MAX)
        for port in self._ports:
            port.close()
        if self._shell.stdin is not None:
            self._shell.stdin.close()

    def follow(self, action: Action) -> None:
        """Run an action of the page; raise if its result is not as the page says."""
        match action:
            case Write(name, text):
                self._write(name, text)
            case Execute(text):
                self._look_for_callback(text)
                self._execute(text)
            case Type(text):
                self._look_for_callback(text)
                self._type(text)
            case Launch(text):
                self._launch(text)
            case Expect(text):
                assert matches(text, self._printed), f"\n{text}\nis not\n{self._printed}"
            case Interrupt():
                self._interrupt()

    def output(self) -> str:
        """Return the output of all terminals."""
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in self._logs.glob("*.log"))

    def _prepare(self, programs: Path) -> dict[str, str]:
        self.folder.mkdir()
        programs.mkdir()
        command = programs / "perdure"
        addresses = {"grpc": self.server, "http": self.http}
        command.write_text(_COMMAND.format(python=sys.executable, **addresses))
        command.chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        # A reader sits at a terminal, here one without colours.
        terminal = {"TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": "200"}
        return {**os.environ, "PATH": path, "PERDURE_SERVER": self.server, **terminal}

    def _open_shell(self) -> subprocess.Popen[bytes]:
        with (self._logs / "shell.log").open("ab") as log:
            return subprocess.Popen(
                ["bash", "-euo", "pipefail"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        reloads = path.exists() and self._serving.startswith("perdure dev")
        before = self.output().count("worker registered")
        path.write_text(text, encoding="utf-8")
        if reloads:
            wait_until(
                lambda: self.output().count("worker registered") > before, f"{name} is served again"
            )

    def _execute(self, text: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", text],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMANDS_S_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}\n{self.output()}"
        self._printed = done.stdout

    def _type(self, text: str) -> None:
        """Run commands in the shell, one after the other, and wait for the last one."""
        log, done = self._logs / "shell.log", self._logs / "done"
        seen = len(log.read_text())
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{text}\n: > '{done}'\n".encode())
        self._shell.stdin.flush()
        deadline_s = time.monotonic() + COMMANDS_S_MAX
        while not done.exists():  # bounded by the deadline, and by the shell's life
            assert self._shell.poll() is None, f"it fails:\n{text}\n{self.output()}"
            assert time.monotonic() < deadline_s, f"it does not end:\n{text}\n{self.output()}"
            time.sleep(POLL_S)
        done.unlink()
        self._printed = log.read_text()[seen:]

    def _launch(self, text: str) -> None:
        with (self._logs / f"terminal-{len(self._terminals) + 1}.log").open("ab") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {text}"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._terminals.append(process)
        self._serving = text
        awaited = "node ready" if text.startswith("perdure server") else "worker registered"
        before = self.output().count(awaited)

        def is_there() -> bool:
            assert process.poll() is None, f"{text} ended\n{self.output()}"
            return self.output().count(awaited) > before

        wait_until(is_there, f"{text} is ready")

    def _interrupt(self) -> None:
        for process in self._terminals:
            _signal_all(process, signal.SIGINT)
            process.wait(STOP_S_MAX)
        self._terminals.clear()

    def _look_for_callback(self, text: str) -> None:
        """Wait until the orders wait, before completing what they wait for."""
        if not any(mark in text for mark in CALLBACK_MARKS):
            return

        def all_wait() -> bool:
            try:
                with Client(self.server) as client:
                    running = list(client.list_executions(statuses=["RUNNING"]))
                    found = [client.get(each.execution_arn) for each in running]
            except ClientError:
                return False
            return bool(found) and all(each.open_callbacks for each in found)

        wait_until(all_wait, "a callback is open")


def _signal_all(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a session that was started here, as its terminal would."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
