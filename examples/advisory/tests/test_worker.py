"""Workers that die, and workers that leave: the council goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import advisory
import prodkit

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PATHS = os.pathsep.join(str(Path(each.__file__).parent.parent) for each in (advisory, prodkit))


@contextmanager
def worker(settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process that takes jobs."""
    variables = {
        "DATABASE_URL": settings.database_url.reveal(),
        "ANTHROPIC_API_KEY": settings.anthropic_api_key.reveal(),
        "ANTHROPIC_BASE_URL": settings.anthropic_base_url,
        "SESSION_SECRET": settings.session_secret.reveal(),
        "ENVIRONMENT": "test",
        "PYTHONPATH": PATHS,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
    }
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "advisory", "worker"], env=variables, stderr=stderr)
    try:
        deadline = time.monotonic() + 40
        while b"takes jobs" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the worker did not start"
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def pages(make_settings, running):
    """The app without a worker."""
    app = running(make_settings(worker=False)).start()
    yield app
    app.stop()


@pytest.mark.parametrize(("farewell", "limit"), [(signal.SIGKILL, 10.0), (signal.SIGTERM, 8.0)])
def test_another_worker_goes_on_with_what_is_missing(pages, a_visitor, simulator, tmp_path, farewell, limit):
    simulator.reset()
    with ExitStack() as stack:
        first = stack.enter_context(worker(pages.settings, tmp_path / "first.log"))
        ana = stack.enter_context(a_visitor(pages.url))
        simulator.script("ok", "ok", *["slow-60"] * 3)
        path = ana.ask(experts=5)
        seen = ana.events(path, until=lambda step: step.get("settled") == 2)
        stack.enter_context(worker(pages.settings, tmp_path / "second.log"))
        simulator.always("ok")
        began = time.monotonic()
        first.send_signal(farewell)
        taken = ana.events(path, after=seen[-1]["seq"], until=lambda step: step["kind"] == "run.started")
        seconds = time.monotonic() - began
        rest = ana.events(path, after=taken[-1]["seq"])
        print(f"taken over after {seconds:.2f} s")
        assert taken[-1]["message"] == "Retomando de onde parou…"
        assert seconds < limit
        first.wait(20)
        if farewell is signal.SIGTERM:
            assert first.returncode == 0
    everything = seen + taken + rest
    assert [step["seq"] for step in everything] == list(range(1, len(everything) + 1))
    kinds = [step["kind"] for step in everything]
    assert kinds.count("seat.done") == 5
    assert kinds.count("run.finished") == kinds.count("chair.started") == 1
    assert "Síntese pronta, com 5 especialistas." in rest[-1]["message"]
    # Five at first, the three that were under way once more, and the chairman: nobody who had finished.
    assert simulator.counters.requests == 9
