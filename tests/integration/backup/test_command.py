"""``prodkit backup`` as people call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prodkit", "backup", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_the_five_commands(postgres_url: str, tmp_path: Path) -> None:
    made = call("run", str(tmp_path), "--json", DATABASE_URL=postgres_url)
    assert made.returncode == 0, made.stderr
    facts = json.loads(made.stdout)
    assert facts["verified_at"]
    path = facts["path"]
    listed = call("list", str(tmp_path))
    assert "verified" in listed.stdout
    assert Path(path).name in listed.stdout
    verified = call("verify", path)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "0 tables, 0 rows" in verified.stdout
    target = postgres_url + "_copy"
    restored = call("restore", path, "--url", target)
    assert restored.returncode == 0, restored.stderr
    pruned = call("prune", "--days", "0", "--json", BACKUP_DIR=str(tmp_path))
    assert json.loads(pruned.stdout)["kept"] == [path]


def test_exit_codes(postgres_url: str, tmp_path: Path) -> None:
    assert call("run", str(tmp_path), DATABASE_URL="").returncode in (1, 2)
    wrong = call("run", str(tmp_path), DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/d")
    assert wrong.returncode == 1
    assert "could not be reached" in wrong.stderr
    assert "hunter2" not in wrong.stderr
    (tmp_path / "x").write_text("hello")
    broken = call("verify", str(tmp_path / "x"))
    assert broken.returncode == 1
    assert "is not a dump" in broken.stderr
    assert call("list", str(tmp_path / "missing")).returncode == 1
    assert call("prune").returncode == 2
    assert call("nothing").returncode == 2
    filled = call("restore", str(tmp_path / "x"), "--url", postgres_url)
    assert filled.returncode == 1
