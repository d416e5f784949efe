from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from prodkit.core.events import Event
from prodkit.telemetry import board
from prodkit.telemetry.catalogue import _kinds

GOLDEN = Path(__file__).parents[1] / "golden" / "telemetry"


@pytest.mark.parametrize(
    ("name", "make"), [("board.json", board.grafana_json), ("rules.yml", board.alert_rules)]
)
def test_golden(name: str, make: object, tmp_path: Path) -> None:
    import sys

    code = f"from prodkit.telemetry import board; print(board.{make.__name__}(), end='')"  # type: ignore[attr-defined]
    text = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, text=True,
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    path = GOLDEN / name
    if os.environ.get("PRODKIT_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_every_measured_event_has_a_panel() -> None:
    shown = json.dumps(board.grafana())
    for entry in board._measured():
        assert entry.name in shown


def test_no_event_class_is_missing_wherever_it_stands() -> None:
    sources = Path(board.__file__).parents[1]
    classes = {
        name
        for path in sources.rglob("*.py")
        if path.parts[len(sources.parts)] not in board._NOT_MEASURED
        for name in re.findall(r"^class (\w+)\(Event\):", path.read_text(), re.MULTILINE)
    }
    board._measured()
    known = {kind.__name__ for kind in _kinds(Event)}
    assert classes - known == set()


def test_promtool_accepts_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run(
        [promtool, "check", "rules", str(GOLDEN / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(board.ALERTS)} rules found" in done.stdout
