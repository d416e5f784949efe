"""The form of a backup is recognised by its content."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from prodkit.backup.source import opened
from prodkit.errors import BackupError

PLAIN = (
    b"--\n-- PostgreSQL database dump\n--\n-- Dumped by pg_dump version 15.3\nselect 1;\n"
    b"-- PostgreSQL database dump complete\n--\n"
)


@pytest.mark.parametrize(
    ("content", "kind", "zipped", "tool"),
    [
        (b"PGDMP" + bytes(200), "custom", False, None),
        (PLAIN, "plain", False, 15),
        (gzip.compress(PLAIN), "plain", True, 15),
    ],
)
def test_forms(tmp_path: Path, content: bytes, kind: str, zipped: bool, tool: int | None) -> None:
    (tmp_path / "any.name").write_bytes(content)
    with opened(tmp_path / "any.name", None) as source:
        assert (source.kind, source.zipped) == (kind, zipped)
        assert source.record is None
        if kind == "plain":
            assert source.tool == tool


@pytest.mark.parametrize(
    "content",
    [b"", b"junk" * 99, b"PK\x03\x04", PLAIN[:-40], gzip.compress(PLAIN)[:-6], gzip.compress(b"junk")],
)
def test_what_is_no_whole_backup(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "any.name").write_bytes(content)
    with pytest.raises(BackupError), opened(tmp_path / "any.name", None):
        pass


def test_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="there is no backup"), opened(tmp_path / "none", None):
        pass
