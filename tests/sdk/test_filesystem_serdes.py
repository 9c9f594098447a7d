"""Values in files: the record, the places of the files, and errors."""

import json
from pathlib import Path
from typing import Any

import pytest

from perdure import DurableContext, RetryableSerDesError, SerDesError
from perdure.config import Duration, StepConfig
from perdure.filesystem_serdes import (
    FileSystemPathEncoding,
    FileSystemSerDes,
    FileSystemSerDesConfig,
    FileSystemSerDesMode,
)
from perdure.serdes import SerDesContext
from perdure.serdes.filesystem import INLINE_BYTES_MAX
from perdure.worker_api import Succeeded
from tests.sdk.hosted import Hosted, handler

ARN = "arn:perdure:lambda:default:000000000000:function:orders:$LATEST/durable-execution/no 17/0f"
CONTEXT = SerDesContext("op", ARN)
OVERFLOW = FileSystemSerDesConfig(FileSystemSerDesMode.OVERFLOW)


def test_a_value_goes_to_a_file_called_after_its_execution(tmp_path: Path) -> None:
    serdes = FileSystemSerDes(str(tmp_path))
    recorded = serdes.serialize((1, 2), CONTEXT)
    path = tmp_path / "orders" / "no 17" / "0f" / "op.json"
    assert json.loads(recorded) == {"file": str(path)}
    assert path.read_text() == '{"t":"t","v":[{"t":"i","v":1},{"t":"i","v":2}]}'
    assert serdes.deserialize(recorded, CONTEXT) == (1, 2)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("context", "place"),
    [
        (SerDesContext("a/b", "weird"), "weird/a%2Fb.json"),
        (SerDesContext("op", ""), "op.json"),
        (SerDesContext("op", "../.."), "..%2F../op.json"),
    ],
)
def test_names_cannot_leave_the_base_path(
    context: SerDesContext, place: str, tmp_path: Path
) -> None:
    recorded = FileSystemSerDes(str(tmp_path)).serialize(1, context)
    assert json.loads(recorded) == {"file": str(tmp_path / place)}


def test_hashed_names_are_those_of_the_aws_sdk(tmp_path: Path) -> None:
    config = FileSystemSerDesConfig(path_encoding=FileSystemPathEncoding.HASH)
    recorded = FileSystemSerDes(str(tmp_path), config).serialize(1, SerDesContext("op1", ARN))
    name = Path(json.loads(recorded)["file"]).name
    assert name == "7d3c6b8d51ac8ec79a2adbf98045944f934c1279a57f689cd5ce997fc223b48e.json"


@pytest.mark.parametrize(("extra", "inline"), [(0, True), (1, False)])
def test_what_overflows_goes_to_a_file(extra: int, inline: bool, tmp_path: Path) -> None:
    envelope = len(json.dumps({"data": '""'}))
    value = "x" * (INLINE_BYTES_MAX - envelope + extra)
    serdes = FileSystemSerDes(str(tmp_path), OVERFLOW)
    recorded = serdes.serialize(value, CONTEXT)
    assert ("data" in json.loads(recorded)) is inline
    assert serdes.deserialize(recorded, CONTEXT) == value


def test_a_preview_is_recorded_beside_the_file(tmp_path: Path) -> None:
    config = FileSystemSerDesConfig(generate_preview=lambda value: {"items": len(value)})
    recorded = json.loads(FileSystemSerDes(str(tmp_path), config).serialize([1, 2], CONTEXT))
    assert recorded["preview"] == {"items": 2}


@pytest.mark.parametrize("recorded", ["nope", "[]", '{"x": 1}', '{"data": 5}', '{"file": 5}'])
def test_what_is_no_reference_is_refused(recorded: str, tmp_path: Path) -> None:
    with pytest.raises(SerDesError):
        FileSystemSerDes(str(tmp_path)).deserialize(recorded, CONTEXT)


@pytest.mark.parametrize("name", ["/etc/passwd", "{base}/../secret.json"])
def test_files_elsewhere_are_not_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('"secret"')
    base = tmp_path / "base"
    recorded = json.dumps({"file": name.format(base=base)})
    with pytest.raises(SerDesError, match="is not below"):
        FileSystemSerDes(str(base)).deserialize(recorded, CONTEXT)


def test_a_file_system_that_is_away_is_an_error_that_passes(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    with pytest.raises(RetryableSerDesError):
        FileSystemSerDes(str(blocked)).serialize(1, CONTEXT)
    missing = json.dumps({"file": str(tmp_path / "gone.json")})
    with pytest.raises(RetryableSerDesError):
        FileSystemSerDes(str(tmp_path)).deserialize(missing, CONTEXT)


def test_a_step_may_return_more_than_a_record_can_hold(tmp_path: Path) -> None:
    sizes: list[int] = []

    def body(_: Any, context: DurableContext) -> None:
        config = StepConfig(serdes=FileSystemSerDes(str(tmp_path), OVERFLOW))
        sizes.append(len(context.step(lambda _: "x" * 2_000_000, "large", config)))
        context.wait(Duration(5))

    assert Hosted(handler(body)).finish() == Succeeded("null")
    assert sizes == [2_000_000, 2_000_000]
