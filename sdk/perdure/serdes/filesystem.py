"""Serializer that stores values in files of a mounted file system, and records references.

For values that are too large for the record, or confidential. The record is `{"data": text}` for an
inline value, or `{"file": path}`, with an optional preview for people. Formats and
defaults are those of the AWS Lambda durable execution SDK for Python 3.0 (filesystem_serdes).

A file is complete or absent: it is written under a temporary name and then renamed. Only files
below the base path are read, since a record may hold what a client sent, such as a callback's
result.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import astuple, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import quote

from perdure.exceptions import RetryableSerDesError, SerDesError
from perdure.primitives.operation_contexts import DurableExecutionArn
from perdure.serdes.serializers import ExtendedTypeSerDes, SerDes, SerDesContext

__all__ = [
    "FileSystemPathEncoding",
    "FileSystemSerDes",
    "FileSystemSerDesConfig",
    "FileSystemSerDesMode",
    "GeneratePreview",
]

# The threshold of the AWS SDK: 256 KiB, less what an envelope takes. Contexts here record up to 64
# MiB.
INLINE_BYTES_MAX: Final = 262_144 - 1_024


class FileSystemSerDesMode(StrEnum):
    """Values that are stored in files: ALWAYS all of them, OVERFLOW those that are too large."""

    ALWAYS = "ALWAYS"
    OVERFLOW = "OVERFLOW"


class FileSystemPathEncoding(StrEnum):
    """Naming of files.

    URI: `function/execution/id/operation.json`, readable. HASH: two SHA-256 digests, for names
    that a file system would refuse.
    """

    URI = "URI"
    HASH = "HASH"


class GeneratePreview(Protocol):
    """Protocol of a function that returns the preview of a stored value: a small dict, or None."""

    def __call__(self, value: Any) -> dict[str, Any] | None: ...


@dataclass(frozen=True)
class FileSystemSerDesConfig:
    """Configuration of `FileSystemSerDes`: the values stored in files, and their names and format.

    `generate_preview`, for instance one that calls `perdure.preview.build_preview`, describes a
    value whose file is referenced.
    """

    storage_mode: FileSystemSerDesMode = FileSystemSerDesMode.ALWAYS
    path_encoding: FileSystemPathEncoding = FileSystemPathEncoding.URI
    generate_preview: GeneratePreview | None = None
    serdes: SerDes[Any] = field(default_factory=ExtendedTypeSerDes)


class FileSystemSerDes(SerDes[Any]):
    """Stores values in files below `base_path`, which every worker must have mounted there.

    An unavailable file system is a transient error: the invocation is retried.
    """

    def __init__(self, base_path: str, config: FileSystemSerDesConfig | None = None) -> None:
        self._base = Path(base_path)
        self._config = config or FileSystemSerDesConfig()

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        text = self._config.serdes.serialize(value, serdes_context)
        if self._config.storage_mode is FileSystemSerDesMode.OVERFLOW:
            inline = json.dumps({"data": text})  # ASCII: characters are bytes
            if len(inline) <= INLINE_BYTES_MAX:
                return inline
        path = self._path(serdes_context)
        try:
            _write(path, text)
        except OSError as error:
            raise RetryableSerDesError(f"{path} cannot be written: {error}") from error
        return self._reference(path, value)

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        return self._config.serdes.deserialize(self._text(data), serdes_context)

    def _reference(self, path: Path, value: Any) -> str:
        reference: dict[str, Any] = {"file": str(path)}
        generate = self._config.generate_preview
        preview = None if generate is None else generate(value)
        if preview is not None:
            reference["preview"] = preview
        return json.dumps(reference)

    def _text(self, data: str) -> str:
        match _envelope(data):
            case {"data": str(text)}:
                return text
            case {"file": str(name)}:
                return self._read(Path(name))
            case _:
                raise SerDesError('The recorded value has neither "data" nor "file".')

    def _read(self, path: Path) -> str:
        if not path.resolve().is_relative_to(self._base.resolve()):
            raise SerDesError(f"The recorded file {path} is not below {self._base}.")
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise RetryableSerDesError(f"{path} cannot be read: {error}") from error

    def _path(self, context: SerDesContext) -> Path:
        arn = context.durable_execution_arn
        if self._config.path_encoding is FileSystemPathEncoding.HASH:
            return self._base / _digest(arn) / f"{_digest(context.operation_id)}.json"
        known = DurableExecutionArn.from_arn(arn)
        folders = (arn,) if known is None else astuple(known)
        quoted = [quote(folder, safe=" ") for folder in folders if folder]
        return self._base.joinpath(*quoted, f"{quote(context.operation_id, safe=' ')}.json")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _envelope(data: str) -> dict[str, Any]:
    try:
        envelope = json.loads(data)
    except ValueError as error:
        raise SerDesError(f"The recorded text is not JSON: {error}") from error
    return cast("dict[str, Any]", envelope) if isinstance(envelope, dict) else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
