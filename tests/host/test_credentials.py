"""Token files and certificates: checked when they are read."""

from pathlib import Path

import pytest

from perdure_host.credentials import TOKENS_MAX, Tokens, read_tokens, tls_files
from perdure_host.errors import SettingsError
from tests.gateway.certificates import Authority


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "tokens"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_each_line_of_a_token_file_is_accepted_and_comments_are_not(tmp_path: Path) -> None:
    tokens = read_tokens(written(tmp_path, "# the shop\none\n\n  two  \r\n"))
    assert tokens.problem("Bearer one") is None
    assert tokens.problem(b"bearer two") is None
    assert tokens.problem("Bearer # the shop") is not None


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (None, "a bearer token is required"),
        ("", "must have the form 'Bearer TOKEN'"),
        ("Basic b25l", "must have the form 'Bearer TOKEN'"),
        ("one", "must have the form 'Bearer TOKEN'"),
        ("Bearer ", "is not one of this server's"),
        ("Bearer on", "is not one of this server's"),
        ("Bearer onee", "is not one of this server's"),
        ("Bearer \xe9", "is not one of this server's"),
    ],
)
def test_any_other_header_is_refused_with_the_reason(header: str | None, problem: str) -> None:
    found = Tokens(["one"]).problem(header)
    assert found is not None
    assert problem in found
    assert "onee" not in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "contains no token"),
        ("# only a comment\n", "contains no token"),
        ("two words\n", "token 1 must be ASCII without spaces"),
        ("good\nschön\n", "token 2 must be ASCII without spaces"),
        (b"\xff\xfe", "is not a text file"),
        ("t\n" * (TOKENS_MAX + 1), f"at most {TOKENS_MAX} tokens, got {TOKENS_MAX + 1}"),
    ],
)
def test_a_bad_token_file_is_named(tmp_path: Path, text: str | bytes, problem: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError, match=problem) as refused:
        read_tokens(path)
    assert path in str(refused.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match="/nowhere/tokens: No such file"):
        read_tokens("/nowhere/tokens")
    with pytest.raises(SettingsError, match="TLS certificate /nowhere/cert: No such file"):
        tls_files("/nowhere/cert", "/nowhere/key", None)


def test_a_certificate_needs_its_key_and_the_reverse() -> None:
    assert tls_files(None, None, None) is None
    for files, missing in [
        (("cert", None, None), "--tls-key"),
        ((None, "key", None), "--tls-cert"),
        ((None, None, "ca"), "--tls-cert"),
    ]:
        with pytest.raises(SettingsError, match=f"{missing} is missing"):
            tls_files(*files)


def test_certificates_that_do_not_work_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("one")
    _, other_key = authority.issue("two")
    assert tls_files(certificate, key, authority.path) is not None
    with pytest.raises(SettingsError, match=r"one\.pem and .*two\.key do not work"):
        tls_files(certificate, other_key, None)
    with pytest.raises(SettingsError, match="do not work"):
        tls_files(certificate, written(tmp_path, "no key"), None)
    with pytest.raises(SettingsError, match=r"TLS authorities .*tokens do not work"):
        tls_files(certificate, key, written(tmp_path, "no certificate"))
