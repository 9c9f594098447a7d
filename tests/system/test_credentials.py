"""Tokens and TLS on every port of a real server, for clients, workers and the command."""

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx
import pytest

from perdure import Client
from perdure.client import InvalidArgumentError, UnauthenticatedError
from tests.gateway.certificates import Authority
from tests.system.processes import NOBODY, ROOT, Credentials, Machine, raised, wait_until

PROGRAMS: Final = ROOT / "tests" / "system" / "programs.py"


@pytest.fixture
def right(tmp_path: Path) -> Credentials:
    """A token file that the server reads, too."""
    token_file = tmp_path / "token"
    token_file.write_text("open-sesame\n")
    return Credentials(token_file=token_file)


@pytest.fixture
def wrong(tmp_path: Path) -> Credentials:
    """A token that the server does not know."""
    token_file = tmp_path / "wrong-token"
    token_file.write_text("open-barley\n")
    return Credentials(token_file=token_file)


def calling(
    machine: Machine, known: Credentials, patience_s: float = 60.0
) -> type[Exception] | None:
    """Return the error that a client with these credentials meets, if any."""
    with Client(machine.server_address, patience_s=patience_s, **known.arguments()) as client:
        return raised(client.list_functions)


def test_a_token_opens_every_port_and_nothing_else_does(
    tmp_path: Path, right: Credentials, wrong: Credentials
) -> None:
    with Machine(tmp_path, secured=right, known=right) as machine:
        machine.start_server()
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("nothing")
        with machine.client() as client:
            assert client.run("three_steps", 1) == 4
        assert calling(machine, NOBODY) is UnauthenticatedError
        assert calling(machine, wrong) is UnauthenticatedError
        assert machine.http("/metrics").status_code == 200
        assert machine.http("/metrics", accept="*/*").status_code == 401
        assert machine.http("/metrics", authorization="Bearer open-barley").status_code == 401
        assert machine.http("/healthz", accept="*/*").status_code == 200

        listing = ("functions", "list")
        assert machine.perdure(*listing).returncode == 5
        assert machine.perdure(*listing, *wrong.options()).returncode == 5
        assert machine.perdure(*listing, *right.options()).returncode == 0


@pytest.mark.parametrize("knows_a_token", [False, True])
def test_a_worker_without_the_right_token_says_so_and_ends(
    tmp_path: Path, right: Credentials, wrong: Credentials, knows_a_token: bool
) -> None:
    known = wrong if knows_a_token else NOBODY
    with Machine(tmp_path, secured=right, known=known) as machine:
        machine.start_server()
        worker = machine.start_worker(PROGRAMS)
        assert machine.wait_for_exit("worker") not in {0, None}
        assert "token" in worker.log_text()
        assert "Traceback" not in worker.log_text()


def test_tokens_are_rotated_without_a_restart_of_anything(tmp_path: Path) -> None:
    ours, servers = tmp_path / "token", tmp_path / "tokens"
    for each in (ours, servers):
        replaced(each, "open-sesame")
    secured, known = Credentials(token_file=servers), Credentials(token_file=ours)
    with Machine(tmp_path, secured=secured, known=known) as machine:
        machine.start_server()
        worker = machine.start_worker(PROGRAMS)
        machine.wait_for_worker("nothing")
        with machine.client() as client:
            assert client.run("three_steps", 1) == 4
            replaced(servers, "open-rye")
            wait_until(lambda: "refuses the token" in worker.log_text(), "it is refused", worker)
            assert raised(client.list_functions) is UnauthenticatedError
            replaced(ours, "open-rye")
            assert client.run("three_steps", 1) == 4
        machine.check()
        logs = machine.logs_text()
        assert not any(token in logs for token in ("open-sesame", "open-rye"))


def replaced(path: Path, token: str) -> None:
    """Put another file with a token into the place of one."""
    path.with_suffix(".new").write_text(f"{token}\n")
    path.with_suffix(".new").replace(path)


def test_everything_speaks_tls_and_shows_its_certificate(
    tmp_path: Path, right: Credentials
) -> None:
    authority = Authority(tmp_path)
    server_cert, server_key = map(Path, authority.issue("server"))
    client_cert, client_key = map(Path, authority.issue("client"))
    tls = replace(right, tls_ca=Path(authority.path))
    secured = replace(tls, tls_cert=server_cert, tls_key=server_key)
    known = replace(tls, tls_cert=client_cert, tls_key=client_key)
    with Machine(tmp_path, secured=secured, known=known) as machine:
        machine.start_server()
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("nothing")
        with machine.client() as client:
            assert client.run("three_steps", 1) == 4
        done = machine.perdure("invoke", "three_steps", "--payload", "1", *known.options())
        assert (done.returncode, done.stdout) == (0, "4\n")
        assert machine.metrics().value("perdure_workers_connected") == 1
        # Without TLS, and without a certificate of one's own.
        assert calling(machine, right, patience_s=0.5) is InvalidArgumentError
        assert calling(machine, tls, patience_s=0.5) is InvalidArgumentError
        stranger = ssl.create_default_context(cafile=authority.path)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"https://{machine.http_address}/healthz", verify=stranger, trust_env=False)


def test_tls_without_client_certificates_asks_for_none(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    secured = Credentials(tls_cert=Path(certificate), tls_key=Path(key))
    known = Credentials(tls_ca=Path(authority.path))
    with Machine(tmp_path, secured=secured, known=known) as machine:
        machine.start_server()
        machine.start_worker(PROGRAMS)
        machine.wait_for_worker("nothing")
        with machine.client() as client:
            assert client.run("three_steps", 1) == 4


def test_a_server_does_not_open_to_others_without_token_and_tls(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        machine.server_address = machine.server_address.replace("127.0.0.1", "0.0.0.0")
        server = machine.start_server(ready=False)
        assert machine.wait_for_exit("server") == 2
        assert "--token-file and --tls-cert" in server.log_text()
        assert "Traceback" not in server.log_text()
