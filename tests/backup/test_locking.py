"""One backup at a time in a directory, and room on its disk."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from prodkit.backup.locking import check_room, exclusive
from prodkit.errors import BackupError


def test_a_directory_is_held_until_the_block_ends(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        with pytest.raises(BackupError, match="another backup"), exclusive(tmp_path):
            raise AssertionError
        with exclusive(tmp_path / "other"):
            pass
    with exclusive(tmp_path):
        pass


def test_an_error_frees_it(tmp_path: Path) -> None:
    with pytest.raises(LookupError), exclusive(tmp_path):
        raise LookupError
    with exclusive(tmp_path):
        pass


def test_a_missing_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with exclusive(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / ".lock").stat().st_mode) == 0o600


def test_a_place_that_is_no_directory_is_an_error_of_the_kit(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match="cannot be written"), exclusive(tmp_path / "file"):
        raise AssertionError


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with exclusive(tmp_path), pytest.raises(BackupError), exclusive(tmp_path):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_room_is_compared_with_what_is_free(tmp_path: Path) -> None:
    check_room(tmp_path, 0)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(BackupError, match=r"MiB free, and about \d+ MiB are needed"):
        check_room(tmp_path, free * 2 + 2**40)
