"""The wheel holds the whole package and nothing else, and works with the sources out of sight."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packaged = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "prodkit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packaged == sources
    assert "prodkit/py.typed" in packaged
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_works_with_the_sources_out_of_sight(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = """
import prodkit, prodkit.env, prodkit.files, prodkit.llm, prodkit.web
from prodkit import CircuitBreaker, Pipeline, Retry, Timeout
from prodkit.testing import virtual_time
async def answer(): return 42
assert virtual_time(Pipeline(Retry(), CircuitBreaker('x'), Timeout(1)).run(answer)) == 42
print(prodkit.__file__)
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
