"""libmagic names refused files: present, absent or from a wheel, the verdicts are the same."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from upload_corpus.base import bases, payloads

from prodkit import Runtime, files
from prodkit.files.events import FileRejected

SOURCE = str(Path(files.__file__ or "").parents[2])
# What ctypes finds on a machine without libmagic: nothing, until the wheel's library is loaded by its path.
ABSENT = """
import ctypes, ctypes.util, os, sys
ctypes.util.find_library = lambda name: None
real, loaded = ctypes.CDLL, []
def load(name, *args, **more):
    if name == "libmagic.so.1" and not loaded: raise OSError("not found")
    made = real(name, *args, **more)
    if name and "libmagic" in str(name): loaded.append(name)
    return made
ctypes.CDLL = load
"""


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env={"PYTHONPATH": SOURCE}, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


def test_without_any_libmagic_there_is_no_verdict_and_no_error() -> None:
    code = "import sys; sys.modules['magic'] = None\nfrom prodkit import files; print(repr(files.libmagic(b'MZ')))"
    assert run(code) == "''"


def test_the_library_of_the_wheel_is_used_without_importing_the_wheel() -> None:
    if importlib.util.find_spec("magic") is None:
        pytest.skip("python-magic is not installed")
    if importlib.util.find_spec("pylibmagic") is None:  # importing it would change this process's environment
        pytest.skip("pylibmagic is not installed")
    code = (
        ABSENT + "before = dict(os.environ)\nfrom prodkit import files\n"
        "print(files.libmagic(b'%PDF-1.4\\n'), dict(os.environ) == before, 'pylibmagic' in sys.modules)"
    )
    assert run(code) == "application/pdf True False"


async def test_it_explains_a_refusal_and_changes_none() -> None:
    identify = files.libmagic if files.libmagic(b"MZ") else (lambda head: "application/x-stub")
    seen = list[FileRejected]()
    runtime = Runtime()
    runtime.events.subscribe(seen.append, FileRejected)
    plain = files.Validator(files.ImagePolicy(), runtime=runtime)
    asked = files.Validator(files.ImagePolicy(), runtime=runtime, identify=identify)
    for data in (payloads()["exe"], payloads()["zip"], bases()["jpeg"][1] + payloads()["zip"]):
        for validator in (plain, asked):
            with pytest.raises(files.InvalidFileError):
                await validator.check(data, filename="a.jpg", declared_type=None)
    assert [each.codes for each in seen[::2]] == [each.codes for each in seen[1::2]]
    assert "application/" in seen[1].detail
