"""Users' type checkers see every public type: completeness by pyright, inference by ``tests/typing``."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYRIGHT = Path(sys.executable).parent / "pyright"
PACKAGES = sorted(
    path.name for path in (ROOT / "src" / "prodkit").iterdir() if (path / "__init__.py").exists()
)


def environment() -> dict[str, str]:
    paths = os.pathsep.join((str(PYRIGHT.parent), os.environ["PATH"]))
    return {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The names of each package whose type is unknown or only inferred."""
    done = subprocess.run(
        [
            str(PYRIGHT),
            "--pythonpath",
            sys.executable,
            "--verifytypes",
            "prodkit",
            "--ignoreexternal",
            "--outputjson",
        ],
        cwd=tmp_path_factory.mktemp("elsewhere"),  # away from our own configuration
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    symbols = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    assert len(symbols) > 1000
    found: defaultdict[str, list[str]] = defaultdict(list)
    for symbol in symbols:
        if symbol["isExported"] and (symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"]):
            said = symbol["diagnostics"][0]["message"].splitlines()[0] if symbol["diagnostics"] else ""
            found[symbol["name"].split(".")[1]].append(f"{symbol['name']}: {said}")
    return found


@pytest.mark.static
@pytest.mark.timeout(600)
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_type_is_known(package: str, incomplete: dict[str, list[str]]) -> None:
    assert not incomplete[package], "\n".join(incomplete[package])


@pytest.mark.static
@pytest.mark.timeout(600)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_users_infer_what_we_promise(checker: str) -> None:
    files = sorted(map(str, (ROOT / "tests" / "typing").glob("*.py")))
    options = ["--strict", "--no-error-summary", *files] if checker == "mypy" else files
    done = subprocess.run(
        [str(PYRIGHT.parent / checker), *options],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
