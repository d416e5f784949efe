"""The record beside a backup: written whole, read back equal, and lists without what is incomplete."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prodkit.backup.census import Census
from prodkit.backup.manifest import Backup, list_backups, manifest_of, parse, read, text_of, write
from prodkit.errors import BackupError

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def backup(path: Path, *, age: int = 0, body: bytes = b"dump", **facts: Any) -> Backup:
    """Write a backup of `age` hours before :data:`AT` with its record."""
    created = AT - timedelta(hours=age)
    path.write_bytes(body)
    made = Backup(path, "app", created, len(body), "ab" * 32, 17, 17, census=Census({"public.t": 3}), **facts)
    write(made)
    return made


def test_a_record_is_read_back_equal(tmp_path: Path) -> None:
    made = backup(tmp_path / "a.dump", encrypted=True, took=1.5, verified_at=AT + timedelta(hours=1))
    assert read(made.path) == made
    assert parse(text_of(made), made.path) == made
    assert made.verified
    assert made.tables == {"public.t": 3}


def test_a_record_is_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    made = backup(tmp_path / "a.dump")
    record = manifest_of(made.path)
    assert record == tmp_path / "a.dump.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dump", "a.dump.json"]
    assert json.loads(record.read_text())["path"] == "a.dump"  # a directory can be moved


def test_writing_again_replaces_the_record(tmp_path: Path) -> None:
    made = backup(tmp_path / "a.dump")
    backup(tmp_path / "a.dump", verified_at=AT)
    found = read(made.path)
    assert found is not None
    assert found.verified_at == AT


def test_without_a_record_there_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "a.dump") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("sha256"),
        lambda facts: facts.update(size="many"),
        lambda facts: facts.update(created_at="yesterday"),
        lambda facts: facts.update(census={"unknown": 1}),
        lambda facts: facts.update(census=None),
    ],
)
def test_a_damaged_record_is_an_error_that_names_the_file(tmp_path: Path, change: Any) -> None:
    made = backup(tmp_path / "a.dump")
    facts = json.loads(text_of(made))
    change(facts)
    with pytest.raises(BackupError, match=r"a\.dump is damaged"):
        parse(json.dumps(facts), made.path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7"])
def test_what_is_no_record_is_damaged_too(text: str) -> None:
    with pytest.raises(BackupError, match="damaged"):
        parse(text, Path("a.dump"))


def test_a_record_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.dump.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BackupError, match=r"a\.dump cannot be read"):
        read(tmp_path / "a.dump")


def test_a_list_has_the_newest_first_and_nothing_incomplete(tmp_path: Path) -> None:
    for name, age in (("old", 48), ("new", 1), ("middle", 24)):
        backup(tmp_path / name, age=age)
    (backup(tmp_path / "short").path).write_bytes(b"x")  # shorter than its record says
    (backup(tmp_path / "gone").path).unlink()
    manifest_of(backup(tmp_path / "damaged").path).write_text("{")
    manifest_of(backup(tmp_path / "bare").path).unlink()
    assert [each.path.name for each in list_backups(tmp_path)] == ["new", "middle", "old"]
    assert list_backups(str(tmp_path / "nowhere")) == []


def test_a_file_that_was_made_older_by_hand_counts_as_old(tmp_path: Path) -> None:
    made = backup(tmp_path / "a.dump")
    old = AT - timedelta(days=30)
    os.utime(made.path, (old.timestamp(), old.timestamp()))
    assert [each.created_at for each in list_backups(tmp_path)] == [old]


def test_the_facts_are_json(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(backup(tmp_path / "a.dump").as_dict()))
    assert facts["created_at"] == "2026-01-02T03:04:05+00:00"
    assert facts["verified_at"] is None
    assert facts["census"]["tables"] == {"public.t": 3}
