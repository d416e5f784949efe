"""The wheel holds the whole package and nothing else, and works with the sources out of sight."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

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


def test_two_builds_are_equal_byte_for_byte(tmp_path: Path) -> None:
    """In folders of other names, with other file times and another umask."""
    spec = importlib.util.spec_from_file_location("release_tool", ROOT / "tools" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60
    ).stdout.split("\0")
    built: list[dict[str, str]] = []
    for name, when in (("one", 1_000_000_000), ("another", 1_500_000_000)):
        source, target = tmp_path / name, tmp_path / f"{name}-dist"
        for each in filter(None, tracked):
            if each.startswith(("src/", "docs/", "examples/", "benchmarks/", "tests/")) or "/" not in each:
                place = source / each
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / each, place)
                os.utime(place, (when, when))
        files = tool.build(source, target)
        assert [each.suffix for each in files] == [".whl", ".gz"]
        built.append({each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in files})
    assert built[0] == built[1]


def test_the_workflow_of_releases_attests_what_it_publishes() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]
    used = [step.get("uses", "") for job in steps.values() for step in job["steps"]]
    for action in ("attest-build-provenance", "attest-sbom", "gh-action-pypi-publish"):
        assert any(action in each for each in used), action
    assert "secrets." not in text
    assert steps["publish"]["permissions"] == {"id-token": "write"}


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


OTHER = """
Metadata-Version: 2.1
Name: prodkit
Version: 0.4.0
Provides-Extra: llm
"""


@pytest.fixture(scope="module")
def index(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package index in a folder that holds our wheel and the other project named prodkit."""
    root = tmp_path_factory.mktemp("index")
    other = root / "prodkit-0.4.0-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as archive:
        info = "prodkit-0.4.0.dist-info"
        archive.writestr("prodkit/__init__.py", "OTHER_PROJECT = True\n")
        archive.writestr(f"{info}/METADATA", OTHER.lstrip())
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(
            f"{info}/RECORD", f"prodkit/__init__.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    (root / wheel.name).write_bytes(wheel.read_bytes())
    return root


def printed_commands() -> dict[str, str]:
    """Every ``pip install`` of a requirement that README, docs and the sources print, with its place."""
    found: dict[str, str] = {}
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "src").rglob("*.py"),
    ]
    for page in pages:
        for match in re.finditer(
            r"pip install\s+(?:-U\s+|--\S+\s+)*'?([A-Za-z.][\w.-]*(?:\[[\w,]+\])?)", page.read_text()
        ):
            found.setdefault(match[1], str(page.relative_to(ROOT)))
    return {name: place for name, place in found.items() if name.startswith("prodkit")}


def test_every_printed_command_installs_this_project(index: Path, tmp_path: Path) -> None:
    commands = printed_commands()
    assert any("[all" in name for name in commands)
    for name, place in commands.items():
        target = tmp_path / re.sub(r"\W", "_", name)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--disable-pip-version-check",
        ]
        done = subprocess.run(
            [*pip, "--find-links", str(index), "--target", str(target), name],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""},
        )
        assert done.returncode == 0, f"{place}: {name}: {done.stderr}"
        assert "does not provide the extra" not in done.stderr, f"{place}: {name}"
        assert (target / "prodkit" / "errors.py").exists(), f"{place}: {name} installs the other project"


def test_the_name_of_the_distribution_stands_in_one_place() -> None:
    from prodkit.errors import DISTRIBUTION

    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["name"] == DISTRIBUTION
