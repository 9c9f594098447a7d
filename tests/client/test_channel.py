"""Tokens and TLS: the token travels with every call; errors name the wrong setting."""

import asyncio
import subprocess
from pathlib import Path

import grpc
import pytest

from perdure.client import AsyncClient, Client, InvalidArgumentError
from perdure_host.channel import (
    SERVER_DEFAULT,
    ConnectionSettings,
    connection_settings,
    open_channel,
)
from perdure_host.errors import SettingsError
from tests.client.scripted_server import Script, event, running, serving


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text("sesame\n")
    return str(path)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-nodes", "-keyout", str(key), "-out", str(cert), "-days", "1"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *files, *names], check=True, capture_output=True)
    return cert, key


def test_a_sync_client_shows_its_token_on_calls_and_streams(token_file: str) -> None:
    script = Script(answers=[running()], streams=[[event(1)]])
    with serving(script) as server, Client(server, token_file=token_file) as client:
        client.get("arn:1")
        assert len(list(client.follow("arn:1"))) == 1
    assert script.tokens == ["Bearer sesame"] * 2


def test_an_async_client_shows_its_token_on_calls_and_streams(token_file: str) -> None:
    async def scene() -> None:
        script = Script(answers=[running()], streams=[[event(1)]])
        with serving(script) as server:
            async with AsyncClient(server, token_file=token_file) as client:
                await client.get("arn:1")
                assert len([each async for each in client.follow("arn:1")]) == 1
        assert script.tokens == ["Bearer sesame"] * 2

    asyncio.run(scene())


def test_a_client_without_a_token_shows_none() -> None:
    script = Script(answers=[running()])
    with serving(script) as server, Client(server) as client:
        client.get("arn:1")
    assert script.tokens == [None]


def test_the_token_travels_through_tls(token_file: str, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    script = Script(answers=[running()])
    with (
        serving(script, credentials) as server,
        Client(server, token_file=token_file, tls_ca=str(cert)) as client,
    ):
        client.get("arn:1")
    assert script.tokens == ["Bearer sesame"]


def test_an_async_client_speaks_tls(certificate: tuple[Path, Path]) -> None:
    async def scene() -> None:
        cert, key = certificate
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
        with serving(Script(answers=[running()]), credentials) as server:
            async with AsyncClient(server, tls_ca=str(cert)) as client:
                assert (await client.get("arn:1")).status == "RUNNING"

    asyncio.run(scene())


def test_an_untrusted_certificate_is_refused(
    certificate: tuple[Path, Path],
) -> None:
    cert, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    script = Script()
    with (
        serving(script, credentials) as server,
        Client(server, tls_cert=str(cert), tls_key=str(key), patience_s=0) as client,
        pytest.raises(InvalidArgumentError, match="not signed by an authority"),
    ):
        client.get("arn:1")
    assert script.requests == []


def test_a_server_that_demands_a_certificate_is_shown_ours(
    certificate: tuple[Path, Path],
) -> None:
    cert, key = certificate
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], cert.read_bytes(), require_client_auth=True
    )
    with (
        serving(Script(answers=[running()]), credentials) as server,
        Client(server, tls_ca=str(cert), tls_cert=str(cert), tls_key=str(key)) as client,
    ):
        assert client.get("arn:1").status == "RUNNING"


def test_the_environment_says_what_was_not_given() -> None:
    environment = {"PERDURE_SERVER": "far:1", "PERDURE_TOKEN_FILE": "t", "PERDURE_TLS_CA": "ca"}
    assert connection_settings(environment, server="near:1") == ConnectionSettings(
        server="near:1", token_file="t", tls_ca="ca"
    )


def test_nothing_said_means_the_embedded_server() -> None:
    settings = connection_settings({"PERDURE_TLS_CA": ""})
    assert settings == ConnectionSettings(server=SERVER_DEFAULT)


def test_a_missing_token_file_is_named() -> None:
    with pytest.raises(SettingsError, match="cannot read the token file /nowhere: No such file"):
        open_channel(ConnectionSettings(token_file="/nowhere"))


def test_a_missing_token_file_is_an_error_of_the_client_too() -> None:
    with pytest.raises(InvalidArgumentError, match="cannot read the token file /nowhere"):
        Client(token_file="/nowhere")


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b" \n", "is empty"), (b"a\nb\n", "one line of ASCII"), (b"\xff\xfe", "one line of ASCII")],
)
def test_a_token_file_without_a_token_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=problem):
        open_channel(ConnectionSettings(token_file=str(path)))


def test_a_certificate_without_its_key_is_refused(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(SettingsError, match="no key"):
        open_channel(ConnectionSettings(tls_cert=str(certificate[0])))
