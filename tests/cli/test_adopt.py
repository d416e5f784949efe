"""What ``prodkit adopt`` finds in a tree, and that it changes nothing."""

import json
from pathlib import Path

import pytest

from prodkit.cli import main
from prodkit.cli.adopt import scan
from prodkit.cli.adopt_table import LIBRARIES, REPLACEMENTS

SERVICE = """
import tenacity
import pybreaker as pb
from aiobreaker import CircuitBreaker, CircuitBreakerError
from stamina import retry as again
import backoff
from circuitbreaker import circuit
from slowapi import Limiter
from limits.strategies import MovingWindowRateLimiter
from cashews import cache
from .limits import parse

@tenacity.retry(stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_fixed(2))
def fetch(): ...

@again(on=ConnectionError, attempts=4)
async def ask(): ...

@backoff.on_exception(backoff.expo, ConnectionError, max_tries=8)
def load(): ...

breaker = pb.CircuitBreaker(fail_max=3, reset_timeout=30)

@breaker
def guarded(): ...

def use():
    with breaker.calling():
        breaker.call(fetch)

@circuit(failure_threshold=10, expected_exception=ConnectionError)
def other(): ...

limiter = Limiter(key_func=None)

@limiter.limit("5/minute")
async def login(request):
    try:
        ...
    except CircuitBreakerError:
        ...

@cache(ttl="10m")
async def answer(question): ...
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "clean.py").write_text("import asyncio\nretry = 3\nparse = None\n")
    (tmp_path / "old.py").write_text("print 'python 2'\n")
    for skipped in (".venv/lib", "node_modules"):
        (tmp_path / skipped).mkdir(parents=True)
        (tmp_path / skipped / "x.py").write_text("import tenacity\n")
    return tmp_path


def test_every_library_is_found_line_by_line(tree: Path) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*.py")}
    findings, unread = scan(tree)
    assert {each.library for each in findings} == LIBRARIES
    assert {each.path for each in findings} == {"service.py"}
    assert unread == ["old.py"]
    by_code = {each.code: each for each in findings if not each.name.endswith("import")}
    fetch = next(each for each in findings if each.name == "tenacity.retry")
    assert fetch.line == 13
    assert fetch.replacement.startswith("@pk.Retry(attempts=None")
    assert "wait=tenacity.wait_fixed(2)" in fetch.replacement
    changes = {each.name: each.change for each in findings}
    assert changes["stamina.retry"].startswith("timeout=45.0 is pk.Deadline.after(seconds)")
    assert not [each for each in changes.values() if "{" in each]
    texts = {each.name: each.replacement for each in findings}
    assert texts["tenacity.stop_after_attempt"] == "attempts=5"
    assert texts["stamina.retry"].startswith("@pk.Retry(attempts=4, on=ConnectionError")
    assert (
        texts["backoff.on_exception"]
        == "@pk.Retry(attempts=8, on=ConnectionError, wait=policies.full_jitter())"
    )
    assert "failures=3, open_for=30" in texts["pybreaker.CircuitBreaker"]
    assert texts["pybreaker.CircuitBreaker().calling"] == "with breaker.calling():"
    assert texts["pybreaker.CircuitBreaker()@"] == "@breaker"
    assert "failures=10, open_for=30, on=ConnectionError" in texts["circuitbreaker.circuit"]
    assert "ratelimit.Limit('5/minute'" in texts["slowapi.Limiter().limit"]
    assert texts["aiobreaker.CircuitBreakerError"] == "pk.CircuitOpenError"
    assert texts["cashews.cache"] == "@answers.cached(ttl='10m')"
    assert by_code["breaker = pb.CircuitBreaker(fail_max=3, reset_timeout=30)"].change
    assert {path: path.read_bytes() for path in tree.rglob("*.py")} == before


def test_the_command(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adopt", str(tree)]) == 0
    printed = capsys.readouterr()
    assert "service.py\n" in printed.out
    assert "  13  @tenacity.retry(" in printed.out
    assert "-> @pk.Retry(attempts=None" in printed.out
    assert "Nothing was changed." in printed.out
    assert "not read: old.py" in printed.err
    assert main(["adopt", str(tree / "service.py"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["line"] == 2
    assert main(["adopt", str(tree / "clean.py")]) == 0
    assert "Nothing to replace" in capsys.readouterr().out
    assert main(["adopt", str(tree / "absent")]) == 2


def test_a_file_that_is_nested_too_deeply_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep.py").write_text(f"import tenacity\nx = {'-' * 50_000}1\n")
    (tmp_path / "long.py").write_text(f"import tenacity\nx = y{'.z' * 20_000}\n")
    (tmp_path / "plain.py").write_text(f"import tenacity\nx = y{'.z' * 900}()\n")
    findings, unread = scan(tmp_path)
    assert [each.path for each in findings] == ["plain.py"]
    assert unread == ["deep.py", "long.py"]


def test_a_decorator_is_reported_on_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "service.py"
    path.write_text("import tenacity\n\n@tenacity.retry\n@staticmethod\ndef load(): ...\n")
    assert [(each.line, each.code) for each in scan(path)[0]] == [
        (1, "import tenacity"),
        (3, "@tenacity.retry"),
    ]


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbfimport tenacity\n", b"# -*- coding: latin-1 -*-\nimport tenacity  # \xe9\n"]
)
def test_a_file_is_read_in_the_encoding_that_it_declares(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "service.py").write_bytes(data)
    findings, unread = scan(tmp_path)
    assert ([each.name for each in findings], unread) == (["tenacity.import"], [])


def test_every_library_has_an_entry_for_its_import() -> None:
    assert {name.removesuffix(".import") for name in REPLACEMENTS if name.endswith(".import")} == LIBRARIES
