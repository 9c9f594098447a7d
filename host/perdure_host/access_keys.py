"""Access keys for signed requests of the Lambda API: who may call which actions on what.

The file is TOML with one table for each key:

    [[key]]
    id = "ORDERSERVICE"
    secret = "…"
    actions = ["lambda:InvokeFunction", "lambda:Get*"]
    resources = ["orders-*"]

Must stay true: the file is read and checked once, at start, and no message, log line or `repr`
shows a secret.
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
SECRET_CHARS_MIN: Final = 16
SECRET_CHARS_MAX: Final = 256

EVERYTHING: Final = "*"

# IAM's names of the operations, from the service authorization reference of Lambda.
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

# 4 to 128 word characters: ids for local use may be shorter than the 16 of IAM and STS.
_ID: Final = re.compile(r"\w{4,128}", re.ASCII)
_NAMESPACE: Final = re.compile(r"[a-z0-9-]{1,64}")
_ARN_PREFIX: Final = "arn:"
_ARN_NAMESPACE: Final = 3
_ARN_FUNCTION: Final = 6


class AccessKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key. Patterns may contain `*` and `?`; resources are function names or ARNs."""

    id: str
    secret: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = (EVERYTHING,)
    namespace: str = "default"

    def __repr__(self) -> str:
        """Return the id without the secret."""
        return f"AccessKey({self.id!r})"

    def allows(self, action: str, resource: str) -> bool:
        """Return whether the key allows the action on the resource, an ARN (`*`: no resource).

        As in IAM, actions are case-insensitive and resources are case-sensitive.
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
    """Read a file of access keys. Raises SettingsError if it is invalid or readable by others."""
    what = f"the access key file {path}"
    keys = _read_file(path, what).key
    if not keys:
        raise SettingsError(f"{what} contains no key. Add a [[key]] table for each key.")
    if len(keys) > KEYS_MAX:
        raise SettingsError(f"{what} may contain at most {KEYS_MAX:,} keys, got {len(keys):,}")
    for number, key in enumerate(keys, 1):
        problem = _problem(key)
        if problem is not None:
            raise SettingsError(f"{what}: key {number}: {problem}")
    ids = [key.id for key in keys]
    duplicate = next((each for each in ids if ids.count(each) > 1), None)
    if duplicate is not None:
        raise SettingsError(f"{what}: two keys have the id {duplicate!r}")
    return AccessKeys(keys)


def _read_file(path: str, what: str) -> _File:
    try:
        with Path(path).open("rb") as file:
            if stat.S_IMODE(Path(path).stat().st_mode) & stat.S_IRWXO:
                raise SettingsError(
                    f"{what} is accessible to every user of this machine. Run chmod 600 on it."
                )
            return msgspec.convert(tomllib.load(file), _File)
    except OSError as error:
        raise SettingsError(f"cannot read {what}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{what} is not a text file") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{what} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        # The message has the path and the expected type, never the value.
        raise SettingsError(f"{what}: {error}") from None


def _problem(key: AccessKey) -> str | None:
    if _ID.fullmatch(key.id) is None:
        return "id must be 4 to 128 characters of A-Z a-z 0-9 _"
    secret = key.secret
    if not SECRET_CHARS_MIN <= len(secret) <= SECRET_CHARS_MAX or not secret.isascii():
        return f"secret must be {SECRET_CHARS_MIN} to {SECRET_CHARS_MAX} ASCII characters"
    if _NAMESPACE.fullmatch(key.namespace) is None:
        return "namespace must be 1 to 64 characters of a-z 0-9 -"
    for field, patterns in (("actions", key.actions), ("resources", key.resources)):
        if not 1 <= len(patterns) <= PATTERNS_MAX:
            return f"{field} must have 1 to {PATTERNS_MAX} entries, got {len(patterns):,}"
        if any(not 1 <= len(pattern) <= PATTERN_CHARS_MAX for pattern in patterns):
            return f"each entry of {field} must be 1 to {PATTERN_CHARS_MAX} characters"
    for pattern in key.actions:
        if not any(_matches(action.lower(), pattern.lower()) for action in ACTIONS):
            return (
                f"{pattern!r} matches no action of this API. Names begin with lambda:, as in IAM."
            )
    return None


def _names(pattern: str, resource: str, parts: list[str]) -> bool:
    if pattern == EVERYTHING:
        return True
    if pattern.startswith(_ARN_PREFIX):
        return _matches(resource, pattern)
    return len(parts) > _ARN_FUNCTION and _matches(parts[_ARN_FUNCTION], pattern)


def _matches(text: str, pattern: str) -> bool:
    # Brackets are special in fnmatch, but not in IAM.
    return fnmatchcase(text, pattern.replace("[", "[[]"))
