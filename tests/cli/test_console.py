"""A recording as one HTML page."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from prodkit.cli import main
from prodkit.core.recording import Recorded

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)


def write(path: Path, *events: tuple[float, str, str]) -> Path:
    lines = [
        Recorded(at, NOW + timedelta(seconds=at), event, "WARNING", {"breaker": name, "after": "open"}).line()
        for at, event, name in events
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_recording_becomes_one_self_contained_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "events.jsonl", (100, "breaker.opened", "<b>&"), (4000, "breaker.opened", "late"))
    path.write_text(path.read_text() + '{"at": 1, "ti')
    assert main(["console", str(path)]) == 0
    page = (tmp_path / "events.html").read_text()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page
    said = capsys.readouterr()
    assert "2 events, 3900 s" in said.out
    assert "1 lines" in said.err


def test_the_last_minutes_only(tmp_path: Path) -> None:
    path = write(tmp_path / "e.jsonl", (100, "breaker.opened", "early"), (4000, "breaker.opened", "late"))
    out = tmp_path / "page.html"
    assert main(["console", str(path), "--out", str(out), "--minutes", "5"]) == 0
    page = out.read_text()
    assert "breaker=late" in page
    assert "breaker=early" not in page
    assert "early: open" in page  # its state is known still


def test_wrong_files_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("nothing\n")
    path = write(tmp_path / "events.html", (1, "breaker.opened", "b"))
    before = path.read_text()
    assert main(["console", str(tmp_path / "missing.jsonl")]) == 2
    assert main(["console", str(empty)]) == 2
    assert main(["console", str(path)]) == 2
    assert path.read_text() == before
    said = capsys.readouterr().err
    assert "no recorded events" in said
    assert "must not be the recording" in said
