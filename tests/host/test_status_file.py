"""The file of status-change events: whole lines, synced, also after crashes."""

import asyncio
import json
import os
import resource
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure_host import status_file
from perdure_host.errors import SettingsError, SinkError
from perdure_host.ports import StatusEvent
from perdure_host.status_file import FILE_MODE, StatusFile


def event(number: int) -> StatusEvent:
    return StatusEvent(f"id-{number}", b'{"id":"id-%d"}' % number)


def deliver(file: StatusFile, *numbers: int) -> None:
    asyncio.run(file.deliver([event(number) for number in numbers]))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@contextmanager
def files_end_at(size: int) -> Generator[None]:
    """Limit the size of every file of this process, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_events_are_appended_as_lines_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"id":"old"}\n')
    file = StatusFile(str(path))
    deliver(file, 1, 2)
    deliver(file, 3)
    file.close()
    assert [json.loads(line)["id"] for line in lines(path)] == ["old", "id-1", "id-2", "id-3"]


def test_a_new_file_is_readable_by_its_group_only(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    StatusFile(str(path)).close()
    assert path.stat().st_mode & 0o777 & ~FILE_MODE == 0


def test_lines_and_a_new_name_are_synced_before_delivery_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, int]] = []

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path, path.stat().st_size if path.is_file() else 0))

    monkeypatch.setattr(os, "fsync", note)
    path = tmp_path / "events.jsonl"
    file = StatusFile(str(path))
    assert synced == [(tmp_path, 0)]
    deliver(file, 1)
    file.close()
    assert synced == [(tmp_path, 0), (path, len(event(1).body) + 1)]


def test_half_a_line_is_ended_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"id":"id-1"}\n{"id":"id-')
    file = StatusFile(str(path))
    deliver(file, 2)
    deliver(file, 3)
    file.close()
    assert lines(path) == ['{"id":"id-1"}', '{"id":"id-', '{"id":"id-2"}', '{"id":"id-3"}']


@pytest.mark.parametrize("how", ["renamed", "deleted", "replaced"])
def test_a_rotated_file_is_left_and_a_new_one_begun(tmp_path: Path, how: str) -> None:
    path, old = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    file = StatusFile(str(path))
    deliver(file, 1)
    if how == "deleted":
        path.unlink()
    else:
        path.rename(old)
    if how == "replaced":
        path.touch()
    deliver(file, 2)
    file.close()
    assert lines(path) == ['{"id":"id-2"}']
    assert how == "deleted" or lines(old) == ['{"id":"id-1"}']


def test_a_file_that_was_truncated_goes_on_from_its_new_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = StatusFile(str(path))
    deliver(file, 1, 2)
    os.truncate(path, 0)
    deliver(file, 3)
    file.close()
    assert lines(path) == ['{"id":"id-3"}']


def test_a_full_disk_is_reported_and_later_lines_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = StatusFile(str(path))
    deliver(file, 1)
    with (
        files_end_at(path.stat().st_size + 20),
        pytest.raises(SinkError, match=rf"cannot append to {path}: File too large"),
    ):
        deliver(file, 2, 3)
    # What was written stays: a reader may have read it.
    assert lines(path) == ['{"id":"id-1"}', '{"id":"id-2"}', '{"id":']
    deliver(file, 2, 3)
    file.close()
    assert lines(path)[3:] == ['{"id":"id-2"}', '{"id":"id-3"}']


def test_a_failed_sync_is_reported_and_the_file_is_reopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    file = StatusFile(str(path))

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    opened: list[object] = []
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(SinkError, match="Input/output error"):
            deliver(file, 1)
    monkeypatch.setattr(status_file, "_sync_folder", opened.append)
    deliver(file, 1)
    file.close()
    assert opened == [tmp_path]
    assert lines(path) == ['{"id":"id-1"}'] * 2


def test_a_missing_folder_is_reported_and_may_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "events.jsonl"
    file = StatusFile(str(path))
    path.unlink()
    folder.rmdir()
    with pytest.raises(SinkError, match=f"the folder {folder} does not exist"):
        deliver(file, 1)
    folder.mkdir()
    deliver(file, 1)
    file.close()
    assert lines(path) == ['{"id":"id-1"}']


def test_concurrent_appends_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = StatusFile(str(path))
    threads = [
        threading.Thread(target=deliver, args=(file, *range(n, n + 200))) for n in (0, 1_000, 2_000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    expected = sorted(f"id-{n + m}" for n in (0, 1_000, 2_000) for m in range(200))
    assert sorted(json.loads(line)["id"] for line in lines(path)) == expected


def refusal(path: Path) -> str:
    with pytest.raises(
        SettingsError, match=rf"cannot write status-change events to {path}: "
    ) as no:
        StatusFile(str(path))
    return str(no.value).removeprefix(f"cannot write status-change events to {path}: ")


def test_what_cannot_be_written_is_refused_at_once_and_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal(missing / "events.jsonl") == f"the folder {missing} does not exist"
    assert refusal(tmp_path) == "Is a directory"
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "events.jsonl") == "Not a directory"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "it is not a regular file"
    # Not even root may make files there.
    assert refusal(Path("/sys/events.jsonl")) in ("Permission denied", "Read-only file system")
