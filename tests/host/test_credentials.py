"""Certificates: checked when they are read."""

from pathlib import Path

import pytest

from perdure_host.credentials import certificate_names, tls_files
from perdure_host.errors import SettingsError
from tests.gateway.certificates import Authority


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "tokens"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_a_missing_file_is_named() -> None:
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


def test_a_certificate_says_which_names_it_is_for(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    assert certificate_names(tls_files(certificate, key, None)) == ["127.0.0.1"]
    assert certificate_names(None) == []
