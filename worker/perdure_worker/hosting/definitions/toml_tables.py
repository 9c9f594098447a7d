"""Tables of files that people write: every key is asked for by name, and none may be left over.

Each complaint names file, table and key, says what stands there, and what is expected.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import cast

from perdure_core.text import PREVIEW_CHARS_MAX, cut_chars
from perdure_host.errors import SettingsError


class Table:
    """One table of a file; `where` is how complaints name it."""

    def __init__(self, where: str, values: Mapping[str, object]) -> None:
        self.where = where
        self._values = values
        self._known: set[str] = set()

    @classmethod
    def of(cls, where: str, value: object) -> "Table":
        """Return the table that a value has to be. Raises SettingsError."""
        if not isinstance(value, dict):
            raise SettingsError(f"{where} is {preview_of(value)}; a table is expected")
        values = cast("dict[object, object]", value)
        for key in values:
            if not isinstance(key, str):
                raise SettingsError(f"{where}: the key {preview_of(key)} has to be a text")
        return cls(where, cast("dict[str, object]", values))

    def names(self) -> list[str]:
        """Return all keys, in the order of the file."""
        return list(self._values)

    def has(self, key: str) -> bool:
        """Return whether the key is present; from now on it counts as known."""
        self._known.add(key)
        return key in self._values

    def value(self, key: str) -> object:
        """Return the value of a key, None when it is absent; it counts as known."""
        self._known.add(key)
        return self._values.get(key)

    def table(self, key: str) -> "Table":
        """Return the table below a key; an absent one is empty. Raises SettingsError."""
        value = self.value(key)
        return Table.of(f"{self.where}.{key}", {} if value is None else value)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; without a default it has to be there. Raises SettingsError."""
        value = self.value(key)
        if value is None and key not in self._values and default is not None:
            return default
        if value is None and key not in self._values:
            raise SettingsError(f"{self.where}: {key} is missing")
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a text is expected")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false. Raises SettingsError."""
        if not self.has(key):
            return default
        value = self.value(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false is expected")
        return value

    def number(self, key: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number within its bounds. Raises SettingsError."""
        if not self.has(key):
            return default
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"a whole number of {least:,} to {most:,} is expected")
        return value

    def wrong(self, key: str, expected: str) -> SettingsError:
        """Return the complaint about the value of a key."""
        return SettingsError(f"{self.where}: {key} is {preview_of(self._values[key])}; {expected}")

    def close(self) -> None:
        """Raise SettingsError if a key is left that was never read."""
        for key in self._values:
            if key in self._known:
                continue
            close = get_close_matches(key, self._known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {self._listed()}"
            raise SettingsError(f"{self.where}: unknown key {preview_of(key)}; {hint}")

    def _listed(self) -> str:
        return ", ".join(sorted(self._known)) or "none here"


def preview_of(value: object) -> str:
    """Return enough of a value to recognise it."""
    return cut_chars(repr(value), PREVIEW_CHARS_MAX)
