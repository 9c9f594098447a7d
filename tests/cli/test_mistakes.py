"""Mistakes at the command line: one line for each says what is wrong and what to write instead."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from typer.testing import CliRunner, Result

from perdure_cli import session
from perdure_cli.main import app
from tests.client.scripted_server import Script, serving
from tests.gateway.certificates import Authority
from tests.system.processes import ROOT


class Silent(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Write nothing."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Ports that speak gRPC, gRPC over TLS, and HTTP; and files of authorities."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "other").mkdir()
    ours, other = Authority(folder), Authority(folder / "other")
    certificate, key = ours.issue("server")
    server = grpc.server(futures.ThreadPoolExecutor(1))
    credentials = grpc.ssl_server_credentials([(ours.read(key), ours.read(certificate))])
    plain = server.add_insecure_port("127.0.0.1:0")
    tls = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    web = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    (folder / "shop.py").write_text(
        "from perdure import durable_execution\n"
        "@durable_execution\ndef order(event, context): return 1\n"
    )
    yield {
        "PLAIN": f"127.0.0.1:{plain}",
        "TLS": f"127.0.0.1:{tls}",
        "TLS_NAMED": f"localhost:{tls}",
        "HTTP": f"127.0.0.1:{web.server_port}",
        "OURS": ours.path,
        "OTHER": other.path,
        "SHOP": str(folder / "shop.py"),
        "DB": f"sqlite:///{folder / 'perdure.db'}",
    }
    web.shutdown()
    web.server_close()
    server.stop(None)


def perdure(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "PERDURE_SERVER": ""})


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("localhost", "Add the port: localhost:7600."),
        ("http://127.0.0.1:7600", "Leave out 'http://': 127.0.0.1:7600; --tls-ca turns TLS on."),
        ("https://perdure.example/x", "Leave out 'https://': perdure.example:7600; --tls-ca"),
        ("grpc://localhost:7600", "Leave out 'grpc://': localhost:7600;"),
        ("a:7600,b:7600", "Name one server; of a pair, the one that serves."),
        ("a:7600 b:7600", "Name one server; of a pair, the one that serves."),
        ("localhost:7600/", "Leave out everything but the host and the port."),
        ("user@localhost:7600", "Leave out everything but the host and the port."),
        (":7600", "Add the host: 127.0.0.1:7600."),
        ("localhost:http", "The port is a number from 1 to 65,535."),
        ("localhost:0", "The port is a number from 1 to 65,535."),
        ("localhost:65536", "The port is a number from 1 to 65,535."),
        ("::1:7600", "Put brackets around an IPv6 address, as in [::1]:7600."),
    ],
)
def test_a_malformed_address_is_refused_at_once(address: str, advice: str) -> None:
    result = perdure("functions", "list", "--server", address)
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 2
    assert line.startswith(
        f"error: the address of the server must be HOST:PORT, got {address!r}. {advice}"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--server", "HTTP"], "the port does not speak gRPC: use the server's gRPC port"),
        (["--server", "PLAIN", "--tls-ca", "OURS"], "the port does not speak TLS: leave out"),
        (["--server", "TLS"], "the port speaks TLS: name the authority"),
        (["--server", "TLS", "--tls-ca", "OTHER"], "is not signed by an authority of --tls-ca"),
        (["--server", "TLS_NAMED", "--tls-ca", "OURS"], "certificate is for another host"),
    ],
)
def test_a_port_that_speaks_something_else_is_refused_at_once(
    places: dict[str, str], options: list[str], message: str
) -> None:
    result = perdure("functions", "list", *(places.get(each, each) for each in options))
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 2
    assert line.startswith("error: no connection to the server: ")
    assert message in line


def test_a_port_where_nothing_listens_is_tried_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PATIENCE_S", 0.0)
    result = perdure("functions", "list", "--server", "127.0.0.1:1")
    line, hint = result.stderr.splitlines()
    assert (result.exit_code, line) == (
        6,
        "error: no connection to the server: nothing listens there",
    )
    assert hint.startswith("Is a server running at 127.0.0.1:1?")


def test_a_wrong_token_is_told_with_where_to_put_the_right_one() -> None:
    with serving(Script(answers=[grpc.StatusCode.UNAUTHENTICATED])) as server:
        result = perdure("executions", "list", "--server", server)
    line, hint = result.stderr.splitlines()
    assert (result.exit_code, line.startswith("error: ")) == (5, True)
    assert hint == "Pass the token with --token-file or PERDURE_TOKEN_FILE."


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "perdure_cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "PERDURE_SERVER": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["SHOP:order"], 2, ":order'; every function in a file is served"),
        (["SHOP", "--server", "localhost"], 1, "Add the port: localhost:7600."),
        (["SHOP", "--server", "HTTP"], 1, "the port does not speak gRPC"),
        (["SHOP", "--server", "TLS"], 1, "the port speaks TLS"),
        (["SHOP", "--server", "PLAIN", "--tls-ca", "OURS"], 1, "the port does not speak TLS"),
        (["SHOP", "--server", "TLS", "--tls-ca", "OTHER"], 1, "not signed by an authority"),
    ],
)
def test_a_worker_that_can_never_connect_ends_in_one_line(
    places: dict[str, str], options: list[str], status: int, message: str
) -> None:
    for name, place in places.items():
        options = [each.replace(name, place) if each.startswith(name) else each for each in options]
    done = run("worker", *options)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, message in line) == (status, True)


def test_a_taken_port_is_named_in_one_line(places: dict[str, str]) -> None:
    done = run("server", "--db", places["DB"], "--grpc", places["PLAIN"], "--http", "127.0.0.1:0")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    (line,) = errors
    assert line.startswith(
        f"error: cannot listen on {places['PLAIN']} for gRPC: the port is in use"
    )
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_read_enough_ends_the_command_well() -> None:
    ours, its = socket.socketpair()
    with (
        ours,
        its,
        subprocess.Popen(
            [sys.executable, "-m", "perdure_cli", "check", "sdk/perdure", "-o", "json"],
            cwd=ROOT,
            stdout=its.fileno(),
            stderr=subprocess.PIPE,
        ) as running,
    ):
        its.close()
        ours.close()
        _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr) == (0, b"")
