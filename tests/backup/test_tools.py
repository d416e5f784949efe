"""The choice among installed versions of PostgreSQL's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodkit.backup import tools
from prodkit.errors import BackupError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, Path]:
    """Two versions: 15 without TLS, 18 with it."""
    found = {}
    for major in (15, 18):
        found[major] = tmp_path / str(major)
        found[major].mkdir()
        for name in ("pg_dump", "pg_restore"):
            program = found[major] / name
            program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {major}.4'\n")
            program.chmod(0o755)
    monkeypatch.setattr(tools, "_places", lambda: iter([(found[15], False), (found[18], True)]))
    return found


def test_the_first_that_is_new_enough(installed: dict[int, Path]) -> None:
    assert tools.find_tools(14).major == 15
    assert tools.find_tools(16).major == 18
    assert tools.find_tools(15, newest=True).major == 18
    assert tools.find_tools(15).path("pg_dump") == str(installed[15] / "pg_dump")


def test_tls_is_asked_for(installed: dict[int, Path]) -> None:
    assert tools.find_tools(15, tls=True).directory == installed[18]


@pytest.mark.usefixtures("installed")
def test_what_was_found_is_in_the_error() -> None:
    with pytest.raises(
        BackupError, match=r"pg_dump 19 or newer.*15 in .*without TLS.*18 in .*postgresql-client-19"
    ):
        tools.find_tools(19)
    with pytest.raises(BackupError, match="found: none"):
        tools.find_tools(15, needs=("initdb",))
