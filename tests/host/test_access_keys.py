"""Files of access keys: parsing, patterns, and refusals."""

from pathlib import Path

import pytest

from perdure_host.access_keys import KEYS_MAX, AccessKey, read_access_keys
from perdure_host.errors import SettingsError

SECRET = "0123456789abcdef"
ORDERS = f"""
[[key]]
id = "ORDERS"
secret = "{SECRET}"
actions = ["lambda:InvokeFunction"]
"""
FUNCTION = "arn:perdure:lambda:default:000000000000:function:orders-eu"
EXECUTION = f"{FUNCTION}:$LATEST/durable-execution/one/{32 * '0'}"


def written(folder: Path, text: str, mode: int = 0o600) -> str:
    file = folder / "keys.toml"
    file.write_text(text)
    file.chmod(mode)
    return str(file)


def key(*actions: str, resources: tuple[str, ...] = ("*",)) -> AccessKey:
    return AccessKey(id="ORDERS", secret=SECRET, actions=actions, resources=resources)


def test_a_key_is_found_by_its_id(tmp_path: Path) -> None:
    keys = read_access_keys(written(tmp_path, ORDERS + ORDERS.replace("ORDERS", "OTHER")))
    found = keys.find("ORDERS")
    assert found is not None
    assert found == key("lambda:InvokeFunction")
    assert (found.resources, found.namespace) == (("*",), "default")
    assert keys.find("NOBODY") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"contains no key. Add a \[\[key\]\] table for each key"),
        ("[[key]", "is not TOML"),
        (ORDERS + "right = 1", r"unknown field `right` - at `\$.key\[0\]`"),
        (ORDERS.replace("actions", "# actions"), "missing required field `actions`"),
        (ORDERS + ORDERS, "two keys have the id 'ORDERS'"),
        (ORDERS.replace("ORDERS", "A/B/C"), "key 1: id must be 4 to 128"),
        (ORDERS.replace(SECRET, SECRET[:-1]), "key 1: secret must be 16 to 256 ASCII characters"),
        (ORDERS.replace(SECRET, SECRET + "é"), "key 1: secret must be 16 to 256 ASCII characters"),
        (ORDERS.replace("InvokeFunction", "Invoke"), "'lambda:Invoke' matches no action"),
        (ORDERS.replace("lambda:InvokeFunction", "*a" * 300), "must be 1 to 512 characters"),
        (
            ORDERS.replace('["lambda:InvokeFunction"]', "[]"),
            "actions must have 1 to 100 entries, got 0",
        ),
        (ORDERS + 'namespace = "A"', "key 1: namespace must be"),
        (
            "".join(ORDERS.replace("ORDERS", f"ORDERS{each}") for each in range(KEYS_MAX + 1)),
            "may contain at most 1,000 keys, got 1,001",
        ),
    ],
)
def test_an_invalid_file_is_refused_without_a_secret_in_the_message(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem) as refusal:
        read_access_keys(written(tmp_path, text))
    assert SECRET[:-1] not in str(refusal.value)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match="accessible to every user of this machine"):
        read_access_keys(written(tmp_path, ORDERS, mode))


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the access key file .*: No such file"):
        read_access_keys(str(tmp_path / "nothing"))


def test_a_secret_is_never_shown() -> None:
    assert SECRET not in repr(key("*"))
    assert SECRET not in f"{[key('*')]}"


@pytest.mark.parametrize(
    ("actions", "allowed"),
    [
        (("*",), True),
        (("lambda:*",), True),
        (("lambda:Get*",), False),
        (("lambda:invokefunction",), True),
        (("lambda:Get*", "lambda:Invoke?unction"), True),
        (("lambda:[I]nvokeFunction",), False),
    ],
)
def test_actions_are_case_insensitive_patterns(actions: tuple[str, ...], allowed: bool) -> None:
    assert key(*actions).allows("lambda:InvokeFunction", FUNCTION) is allowed


@pytest.mark.parametrize(
    ("pattern", "resource", "allowed"),
    [
        ("*", FUNCTION, True),
        ("orders-*", FUNCTION, True),
        ("orders-*", EXECUTION, True),
        ("orders", FUNCTION, False),
        ("Orders-*", FUNCTION, False),
        ("orders-*", "*", False),
        ("*", "*", True),
        (FUNCTION, FUNCTION, True),
        (FUNCTION, EXECUTION, False),
        (f"{FUNCTION}:*", EXECUTION, True),
        ("arn:*:function:orders-*", FUNCTION, True),
        ("arn:aws:lambda:*", FUNCTION, False),
    ],
)
def test_resources_are_names_of_functions_or_arns(
    pattern: str, resource: str, allowed: bool
) -> None:
    assert key("*", resources=(pattern,)).allows("lambda:InvokeFunction", resource) is allowed


def test_a_key_allows_nothing_in_another_namespace() -> None:
    stranger = AccessKey(id="ORDERS", secret=SECRET, actions=("*",), namespace="other")
    assert not stranger.allows("lambda:InvokeFunction", FUNCTION)
    assert stranger.allows("lambda:InvokeFunction", FUNCTION.replace("default", "other"))
