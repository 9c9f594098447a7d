"""Access keys of clients that sign their requests: who they are, and what each of them may do.

The file is TOML with one table for each key:

    [[key]]
    id = "ORDERSERVICE"
    secret = "…"
    actions = ["lambda:InvokeFunction", "lambda:Get*"]
    resources = ["orders-*"]

Must stay true: the file is read and proved once, at start, and no message, log line or `repr` shows
a secret.
"""

import re
import stat
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from perdure_host.errors import SettingsError

KEYS_MAX: Final = 1_000
PATTERNS_MAX: Final = 100
PATTERN_CHARS_MAX: Final = 512
SECRET_CHARS_LEAST: Final = 16
SECRET_CHARS_MAX: Final = 256

EVERYTHING: Final = "*"

# The names that IAM gives to the operations, from the service authorization reference of Lambda.
ACTIONS: Final = (
    "lambda:CheckpointDurableExecution",
    "lambda:DeleteDurableExecution",
    "lambda:GetDurableExecution",
    "lambda:GetDurableExecutionHistory",
    "lambda:GetDurableExecutionState",
    "lambda:GetFunction",
    "lambda:GetFunctionConfiguration",
    "lambda:InvokeFunction",
    "lambda:ListDurableExecutionsByFunction",
    "lambda:ListFunctions",
    "lambda:PauseDurableExecution",
    "lambda:ResumeDurableExecution",
    "lambda:SendDurableExecutionCallbackFailure",
    "lambda:SendDurableExecutionCallbackHeartbeat",
    "lambda:SendDurableExecutionCallbackSuccess",
    "lambda:StopDurableExecution",
)

# 4 to 128 word characters: ids made for local use may be shorter than the 16 of IAM and STS.
_ID: Final = re.compile(r"\w{4,128}", re.ASCII)
_NAMESPACE: Final = re.compile(r"[a-z0-9-]{1,64}")
_ARN_PREFIX: Final = "arn:"
_ARN_NAMESPACE: Final = 3
_ARN_FUNCTION: Final = 6


class AccessKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key. Patterns know `*` and `?`; resources are names of functions, or ARNs."""

    id: str
    secret: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = (EVERYTHING,)
    namespace: str = "default"

    def __repr__(self) -> str:
        """Show who it is, and nothing that others must not know."""
        return f"AccessKey({self.id!r})"

    def allows(self, action: str, resource: str) -> bool:
        """Tell whether its owner may do this to what the ARN names (`*`: to nothing in particular).

        Like those of IAM, actions are told apart without regard to case, and resources with it.
        """
        if not any(_matches(action.lower(), pattern.lower()) for pattern in self.actions):
            return False
        parts = resource.split(":")
        if resource != EVERYTHING and parts[_ARN_NAMESPACE] != self.namespace:
            return False
        return any(_names(pattern, resource, parts) for pattern in self.resources)


class AccessKeys:
    """The keys of one file."""

    def __init__(self, keys: tuple[AccessKey, ...]) -> None:
        self._keys = {key.id: key for key in keys}

    def find(self, key_id: str) -> AccessKey | None:
        """Return the key of this id."""
        return self._keys.get(key_id)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: tuple[AccessKey, ...] = ()


def read_access_keys(path: str) -> AccessKeys:
    """Read a file of access keys. Raises SettingsError when it is not sound, or open to others."""
    what = f"the access key file {path}"
    keys = _read_file(path, what).key
    if not keys:
        raise SettingsError(f"{what} holds no key: each one is a table [[key]]")
    if len(keys) > KEYS_MAX:
        raise SettingsError(f"{what} holds {len(keys):,} keys, limit {KEYS_MAX:,}")
    for number, key in enumerate(keys, 1):
        problem = _problem(key)
        if problem is not None:
            raise SettingsError(f"{what}: key {number}: {problem}")
    ids = [key.id for key in keys]
    twice = next((each for each in ids if ids.count(each) > 1), None)
    if twice is not None:
        raise SettingsError(f"{what}: two keys have the id {twice!r}")
    return AccessKeys(keys)


def _read_file(path: str, what: str) -> _File:
    try:
        with Path(path).open("rb") as file:
            if stat.S_IMODE(Path(path).stat().st_mode) & stat.S_IRWXO:
                raise SettingsError(f"{what} is open to every user of this machine: chmod 600 it")
            return msgspec.convert(tomllib.load(file), _File)
    except OSError as error:
        raise SettingsError(f"cannot read {what}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{what} is not a text file") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{what} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        # It says where and of what kind, never what stood there.
        raise SettingsError(f"{what}: {error}") from None


def _problem(key: AccessKey) -> str | None:
    if _ID.fullmatch(key.id) is None:
        return "its id must be 4 to 128 of A-Z a-z 0-9 _"
    secret = key.secret
    if not SECRET_CHARS_LEAST <= len(secret) <= SECRET_CHARS_MAX or not secret.isascii():
        return f"its secret must be {SECRET_CHARS_LEAST} to {SECRET_CHARS_MAX} characters of ASCII"
    if _NAMESPACE.fullmatch(key.namespace) is None:
        return "its namespace must be 1 to 64 of a-z 0-9 -"
    for field, patterns in (("actions", key.actions), ("resources", key.resources)):
        if not 1 <= len(patterns) <= PATTERNS_MAX:
            return f"it has {len(patterns):,} {field}, 1 to {PATTERNS_MAX} are allowed"
        if any(not 1 <= len(pattern) <= PATTERN_CHARS_MAX for pattern in patterns):
            return f"each of its {field} must be 1 to {PATTERN_CHARS_MAX} characters"
    for pattern in key.actions:
        if not any(_matches(action.lower(), pattern.lower()) for action in ACTIONS):
            return f"{pattern!r} is no action of this API: names begin with lambda:, as in IAM"
    return None


def _names(pattern: str, resource: str, parts: list[str]) -> bool:
    if pattern == EVERYTHING:
        return True
    if pattern.startswith(_ARN_PREFIX):
        return _matches(resource, pattern)
    return len(parts) > _ARN_FUNCTION and _matches(parts[_ARN_FUNCTION], pattern)


def _matches(text: str, pattern: str) -> bool:
    # Brackets have a meaning to fnmatch, and none to IAM.
    return fnmatchcase(text, pattern.replace("[", "[[]"))
