"""The files of a SQLite database are made for their owner only."""

import os
from pathlib import Path

from tests.store.scenes import Place, start


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_a_new_database_and_its_side_files_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with Place(f"sqlite:///{tmp_path / 'p.db'}").joined() as (store, me):
            await store.commit(me, [start(1)])
            modes = modes_in(tmp_path)
    finally:
        os.umask(before)
    assert modes == {"p.db": 0o600, "p.db-wal": 0o600, "p.db-shm": 0o600}


async def test_a_database_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    file.touch()
    file.chmod(0o640)
    async with Place(f"sqlite:///{file}").joined():
        assert file.stat().st_mode & 0o777 == 0o640
