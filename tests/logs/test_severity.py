"""Degradations are visible in a production log, and without ``[logs]`` in that of the standard library."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import prodkit as pk
from prodkit import logs
from prodkit.core.events import Event


def degradations() -> list[Event]:
    from prodkit.health.health import CheckChanged
    from prodkit.policies import events as policies
    from prodkit.ratelimit import events as ratelimit

    return [
        CheckChanged(check="redis", before="up", after="down", reason="refused"),
        policies.FallbackUsed(fallback="haiku", error="TimeoutError"),
        ratelimit.RateLimitUnchecked(limit="login"),
        policies.BreakerOpened(
            breaker="perplexity", before="closed", after="open", reason="failures", hold=300.0
        ),
    ]


def test_a_production_log_shows_each_degradation_at_warning_or_above() -> None:
    runtime = pk.Runtime()
    stream = io.StringIO()
    with logs.setup(environment="production", stream=stream, runtime=runtime):
        for event in degradations():
            runtime.events.emit(event)
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in found] == [
        "health.changed", "fallback.used", "ratelimit.unchecked", "breaker.opened",
    ]  # fmt: skip
    assert {line["level"] for line in found} <= {"WARNING", "ERROR", "CRITICAL"}


def test_without_loguru_the_standard_logger_speaks() -> None:
    code = """
import logging, sys
sys.modules["loguru"] = None
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
import asyncio
import prodkit as pk
breaker = pk.CircuitBreaker("payments", failures=1, open_for=30)
async def fail(): raise ConnectionError
async def main():
    try:
        await breaker.run(fail)
    except ConnectionError: pass
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert "prodkit WARNING breaker.opened breaker='payments'" in done.stderr
