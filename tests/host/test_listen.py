"""Listening addresses: parsed exactly, and never open to other machines by accident."""

import pytest

from perdure_host.errors import SettingsError
from perdure_host.listen import Address, check_exposure, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7600", Address("127.0.0.1", 7600)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        ("db-1.example.org:80", Address("db-1.example.org", 80)),
    ],
)
def test_an_address_reads_and_prints_the_same(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "7600", ":7600", "host", "host:", "host:x", "host:-1", "host:65536", "::1:7600"]
)
def test_a_malformed_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match=f"address '{text}'"):
        parse_address(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_loopback_needs_no_protection(host: str) -> None:
    check_exposure(Address(host, 1), token_file=None, tls_cert=None, insecure=False)


# "example.org" and "127.0.0.1.example.org" might lead anywhere.
OPEN = ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"]


@pytest.mark.parametrize("host", OPEN)
@pytest.mark.parametrize(
    ("token_file", "tls_cert", "missing"),
    [
        (None, None, "--token-file and --tls-cert and --tls-key"),
        ("t", None, "without --tls-cert and --tls-key"),
        (None, "c", "without --token-file"),
    ],
)
def test_an_open_address_needs_a_token_and_tls(
    host: str, token_file: str | None, tls_cert: str | None, missing: str
) -> None:
    with pytest.raises(SettingsError, match=missing) as refused:
        check_exposure(Address(host, 1), token_file=token_file, tls_cert=tls_cert, insecure=False)
    assert host in str(refused.value)


@pytest.mark.parametrize("host", OPEN)
def test_an_open_address_is_allowed_if_protected_or_insecure(host: str) -> None:
    check_exposure(Address(host, 1), token_file="t", tls_cert="c", insecure=False)
    check_exposure(Address(host, 1), token_file=None, tls_cert=None, insecure=True)
