"""The bootstrap answers trouble with one line that says what to do."""

import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import pytest

from .test_static import noxfile


class Version(NamedTuple):
    major: int
    minor: int
    micro: int


@pytest.fixture
def nox_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = noxfile()
    home = tmp_path / ".prodkit"
    for name, value in {
        "ROOT": tmp_path,
        "HOME": home,
        "VENV": home / "venv",
        "PYTHON": home / "venv/bin/python",
        "LOG": home / "setup.log",
    }.items():
        monkeypatch.setattr(module, name, value)
    (tmp_path / "pyproject.toml").write_text("[dependency-groups]\nadvisory = []\ndev = []\n")
    return module


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_an_old_python_is_named(
    nox_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = SimpleNamespace(**{**vars(sys), "version_info": Version(3, 10, 4)})
    monkeypatch.setattr(nox_tasks, "sys", fake)
    monkeypatch.setattr(fake, "stderr", sys.stderr)
    assert nox_tasks.main(["demo"]) == 1
    assert only_line(capsys).startswith("prodkit: prodkit needs Python 3.11 or newer, this is 3.10.4")


def test_a_missing_venv_module_names_the_package(
    nox_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nox_tasks.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(nox_tasks.shutil, "which", lambda name: None)
    assert nox_tasks.main(["tests"]) == 1
    assert f"python3.{sys.version_info.minor}-venv" in only_line(capsys)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("NewConnectionError(…): Failed to establish a new connection", "no package index could be reached"),
        ("error: No matching distribution", "setting up failed: see .prodkit/setup.log"),
    ],
)
def test_a_failing_set_up_is_one_line(
    nox_tasks: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: str,
    expected: str,
) -> None:
    def fails(command: list[str], stdout: io.TextIOBase, **_: object) -> subprocess.CompletedProcess[str]:
        stdout.write(said)
        stdout.flush()
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(nox_tasks.subprocess, "run", fails)
    assert nox_tasks.main(["demo"]) == 1
    assert expected in only_line(capsys)


def test_it_lists_its_tasks(nox_tasks: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert nox_tasks.main([]) == 0
    listing = capsys.readouterr().out
    for task in ("demo", "tests", "lint", "types", "layers", "docs", "examples", "bench", "package"):
        assert f"  {task} " in listing


def test_it_reads_on_an_old_python_and_names_no_index() -> None:
    source = (Path(__file__).resolve().parents[2] / "noxfile.py").read_text()
    compile(source, "noxfile.py", "exec", dont_inherit=True)
    assert "://" not in source
    assert "match " not in source.replace("match the", "")
