"""Token files: names, roles, and what happens when a file changes."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from perdure_host.access.bearer_tokens import READ_AGAIN_S, TOKENS_MAX, Role, Tokens, read_tokens
from perdure_host.errors import SettingsError


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "tokens"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_each_line_of_a_token_file_is_accepted_and_comments_are_not(tmp_path: Path) -> None:
    tokens = read_tokens(written(tmp_path, "# the shop\none\n\n  two  \r\nshop client three\n"))
    for token in ("one", "two", "three"):
        assert tokens.problem(f"Bearer {token}") is None
    assert tokens.problem(b"bearer two") is None
    assert tokens.problem("Bearer # the shop") is not None
    assert tokens.problem("Bearer shop client three") is not None
    assert tokens.problem("Bearer shop") is not None


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


def test_a_line_has_a_name_and_roles_or_is_a_token_of_clients_and_workers(tmp_path: Path) -> None:
    tokens = read_tokens(written(tmp_path, "bare\nops operator a\nboth  worker,client\tb\n"))
    found = {
        token: (caller.name, set(caller.roles))
        for token in ("bare", "a", "b")
        if (caller := tokens.find(f"Bearer {token}"))
    }
    assert found == {
        "bare": ("line-1", {Role.CLIENT, Role.WORKER}),
        "a": ("ops", {Role.OPERATOR}),
        "b": ("both", {Role.CLIENT, Role.WORKER}),
    }


def test_no_text_of_a_caller_shows_its_token() -> None:
    caller = Tokens(["s3cret"]).find("Bearer s3cret")
    assert caller is not None
    assert "s3cret" not in f"{caller!r}{caller}{caller.problem('x', [Role.NODE])}"
    assert caller.digest.hex() not in repr(caller)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "contains no token"),
        ("# only a comment\n", "contains no token"),
        ("two words\n", "token 1 must be ASCII without spaces"),
        ("a client b c\n", "token 1 must be ASCII without spaces"),
        ("good\nschön\n", "token 2 must be ASCII without spaces"),
        (b"\xff\xfe", "is not a text file"),
        ("x\n" * (TOKENS_MAX + 1), f"at most {TOKENS_MAX} tokens, got {TOKENS_MAX + 1}"),
        ("a root secret\n", "a role must be one of client, worker, operator, node, got 'root'"),
        ("a client, secret\n", "a role must be one of"),
        ("a client x\na worker y\n", "two tokens have the name 'a'"),
        (f"{'n' * 65} client x\n", "a name must be at most 64 characters, got 65"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, text: str | bytes, problem: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        read_tokens(path)
    assert problem in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match="token file /nowhere/tokens: No such file"):
        read_tokens("/nowhere/tokens")


class Watched:
    """Tokens of a file, and a clock that the test advances."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder = folder
        self.now_s = 0.0
        path = written(folder, text)
        self.tokens = Tokens(["old"], path, now_s=lambda: self.now_s)

    def change(self, text: str) -> None:
        path = written(self._folder, text)
        # A file system may count in coarse steps.
        os.utime(path, ns=(0, int(self.now_s * 1e9) + 1))
        self.now_s += READ_AGAIN_S

    def accepts(self, token: str) -> bool:
        return self.tokens.find(f"Bearer {token}") is not None


def test_a_changed_file_counts_without_a_restart(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "old")
    with capture_logs() as lines:
        watched.change("old\nshop client new")
        assert watched.accepts("new")
        assert watched.accepts("old")
        watched.change("shop client new")
        assert not watched.accepts("old")
    assert [line["event"] for line in lines] == ["tokens changed", "tokens changed"]
    assert lines[0]["added"] == ["line-1", "shop"]
    assert "new" not in repr(lines[1:])


def test_a_changed_file_that_does_not_work_changes_nothing_and_is_reported_once(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path, "old")
    with capture_logs() as lines:
        for text in ("", ""):
            watched.change(text)
            assert watched.accepts("old")
        (tmp_path / "tokens").unlink()
        watched.now_s += READ_AGAIN_S
        assert watched.accepts("old")
    assert [line["log_level"] for line in lines] == ["error", "error"]
    watched.change("new")
    assert watched.accepts("new")


def test_a_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "old")
    watched.change("new")
    watched.now_s -= READ_AGAIN_S / 2
    assert watched.accepts("old")
