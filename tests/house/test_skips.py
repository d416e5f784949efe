"""CI accepts no test file that was skipped as a whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = (Path(__file__).parents[1] / "conftest.py").read_text()
SKIPPED = """
import pytest
@pytest.mark.parametrize("number", [1, 2])
def test_needs_a_browser(number):
    pytest.skip("no browser")
"""
LIVE = "pytestmark = pytest.mark.live"


@pytest.mark.parametrize(
    ("ci", "more", "code"),
    [("true", "", 1), ("", "", 0), ("true", "def test_runs(): pass", 0), ("true", LIVE, 0)],
    ids=["in CI", "elsewhere", "another test of it runs", "it needs a key"],
)
def test_a_file_that_is_skipped_as_a_whole(tmp_path: Path, ci: str, more: str, code: int) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = live")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_area.py").write_text(SKIPPED + more)
    environment = {**os.environ, "CI": ci}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout
    assert ("which CI does not accept: test_area.py" in done.stdout) == bool(code)
