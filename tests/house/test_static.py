"""The static checks of noxfile.py, run as tests so that one command stands for the whole."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[2]


def noxfile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prodkit_noxfile", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(
        sys.modules, {"nox": None}
    ):  # as on a machine without it: nothing is registered twice
        spec.loader.exec_module(module)
    return module


CHECKS = [command for commands in noxfile().CHECKS.values() for command in commands]


@pytest.mark.static
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", CHECKS, ids=" ".join)
def test_check(command: list[str]) -> None:
    program = Path(sys.executable).parent / command[0]
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(program), *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540
    )
    said = done.stdout + done.stderr
    if command == ["pyright"] and done.returncode and "npm" in said and not os.environ.get("CI"):
        pytest.skip("pyright could not be fetched from the npm registry")
    assert done.returncode == 0, said[-6000:]
