"""Run the test suites of tenacity, pybreaker and aiobreaker against prodkit's facades.

    python tools/peer_suites.py tenacity /path/to/tenacity
    python tools/peer_suites.py pybreaker /path/to/pybreaker
    python tools/peer_suites.py aiobreaker /path/to/aiobreaker

The checkout is given and stays as it is: its tests are copied beside a ``conftest.py`` that puts the facade in the
place of the library. Libraries that only the tests want (typeguard, tornado, fakeredis) are replaced by stand-ins. Left
out, because the facades replace them: storages in Redis (``redis.SharedBreakers``) and tornado's coroutines (asyncio).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LEFT_OUT = {
    "tenacity": ["--ignore-glob=*test_tornado.py"],
    "pybreaker": ["-k", "not Redis and not redis and not tornado and not call_async and not call_future"],
    "aiobreaker": ["--ignore-glob=*tests-old.py", "-k", "not redis"],
}
TESTS = {"tenacity": "tests", "pybreaker": "tests", "aiobreaker": "test"}

CONFTEST = """
import sys, types
from unittest import mock

def stand_in(name, **names):
    try:
        __import__(name)
    except ImportError:
        module = types.ModuleType(name)
        module.__dict__.update(names)
        sys.modules[name] = module

library = {library!r}
stand_in("typeguard", check_type=lambda value, expected: value)
if library != "tenacity":
    passing = lambda *args, **kwargs: (args[0] if args and callable(args[0]) else (lambda fn: fn))
    gen = types.SimpleNamespace(coroutine=passing, Return=StopIteration, sleep=None)
    import unittest
    testing = types.SimpleNamespace(AsyncTestCase=unittest.TestCase, gen_test=passing)
    stand_in("tornado", gen=gen, testing=testing)
    stand_in("fakeredis", FakeStrictRedis=None)

import prodkit.compat.{library} as facade
names = dict(vars(facade))
sys.modules[library] = facade
if library == "aiobreaker":
    for part in ("state", "listener", "circuitbreaker", "storage", "storage.base", "storage.memory"):
        sys.modules[f"aiobreaker.{{part}}"] = facade
    redis = types.ModuleType("aiobreaker.storage.redis")
    redis.CircuitRedisStorage = None
    sys.modules["aiobreaker.storage.redis"] = redis
    facade.storage = facade
    facade.__path__ = []

import pytest
sys.modules.setdefault("_pytest.python_api", types.SimpleNamespace(raises=pytest.raises))

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: ours")
"""


def main() -> int:
    """Run one suite; further arguments go to pytest."""
    library, checkout, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place:
        tests = Path(place) / TESTS[library]
        shutil.copytree(Path(checkout) / TESTS[library], tests)
        (Path(place) / "conftest.py").write_text(CONFTEST.format(library=library))
        (Path(place) / "pytest.ini").write_text(
            "[pytest]\nasyncio_mode = auto\npython_files = test*.py *_test.py\n"
        )
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:randomly",
            "--tb=line",
            place,
            *LEFT_OUT[library],
            *options,
        ]
        return subprocess.run(command, cwd=place, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
