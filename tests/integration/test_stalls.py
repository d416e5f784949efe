"""The stopwatch counts what code waits for and computes, and not the time in which its process stands still."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
from tests.stalls import Stopwatch

pytestmark = pytest.mark.integration

STOPPED = """
import os, signal, subprocess, sys, time
from tests.stalls import Stopwatch

with Stopwatch() as watch:
    began = time.monotonic()
    waker = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)
    print(watch.seconds, time.monotonic() - began)
    waker.wait()
"""


def test_waiting_and_computing_are_counted() -> None:
    with Stopwatch() as watch:
        time.sleep(0.2)
        assert watch.seconds >= 0.2
        watch.restart()
        began, computed = time.monotonic(), time.process_time()
        re.match(r"(?:a|aa)+b", "a" * 34)  # it lets no other thread run
        computed = time.process_time() - computed
        assert computed > 0.1, "the expression is too quick to show anything"
        assert watch.seconds >= 0.9 * min(computed, time.monotonic() - began)


def test_a_process_that_stands_still_is_not_counted() -> None:
    ran = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, check=True)
    counted, passed = map(float, ran.stdout.split())
    assert passed >= 0.5
    assert counted <= passed - 0.4
