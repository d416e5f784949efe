"""The parent's end of one worker: it starts, answers, and ends in every way that a process can."""

from __future__ import annotations

import hashlib
import io
import os
import signal
from collections.abc import Callable

import pytest
from PIL import Image
from upload_corpus.base import bases

from prodkit import MissingExtraError
from prodkit.files.decoding.process import (
    DecodeCrashedError,
    DecodeKilledError,
    DecodeTimeoutError,
    UndecodableError,
    WorkerProcess,
)

ECHO = """
import sys; sys.path += sys.argv[3:]
import os
from prodkit.files.decoding.pipe import Channel
channel = Channel(0, 1)
channel.send({"ready": True})
while True:
    request, data = channel.receive()
    if data == b"hang": channel.receive()
    if data == b"leave": os._exit(7)
    channel.send({"role": sys.argv[2], "seconds": request["seconds"]}, data[::-1])
"""


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[], WorkerProcess]:
    monkeypatch.setattr(WorkerProcess, "boot", ECHO)
    return lambda: WorkerProcess(2**30)


def test_a_worker_answers_with_a_header_and_bytes(worker: Callable[[], WorkerProcess]) -> None:
    made = worker()
    try:
        assert made.alive
        answer = made.ask({"kind": "jpeg"}, b"abc", 5.0)
        assert answer == ({"role": "pictures", "seconds": 5.0}, b"cba", hashlib.sha256(b"abc").hexdigest())
        assert os.getpgid(made.pid) == made.pid  # a group of its own: a Ctrl-C of the terminal is not for it
    finally:
        made.end()
    assert not made.alive


def test_the_ways_to_end_are_told_apart(worker: Callable[[], WorkerProcess]) -> None:
    ends: list[tuple[bytes, int | None, type[UndecodableError], str]] = [
        (b"hang", None, DecodeTimeoutError, "killed after"),
        (b"leave", None, DecodeCrashedError, "left with 7"),
        (b"x", signal.SIGKILL, DecodeKilledError, "signal 9"),
        (b"x", signal.SIGSEGV, DecodeCrashedError, "signal 11"),
        (b"x", signal.SIGXCPU, DecodeTimeoutError, "CPU"),
    ]
    for data, number, expected, text in ends:
        made = worker()
        try:
            if number is not None:
                os.kill(made.pid, number)
            with pytest.raises(expected, match=text) as caught:
                made.ask({}, data, 0.3 if data == b"hang" else 20.0)
            assert type(caught.value) is expected
        finally:
            made.end()


def test_a_worker_that_does_not_start_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkerProcess, "boot", "raise SystemExit(1)")
    with pytest.raises(MissingExtraError, match="could not start"):
        WorkerProcess(2**30)


def test_the_real_worker_decodes() -> None:
    made = WorkerProcess(768 * 2**20)
    try:
        data = bases()["png"][1]
        request = {"kind": "png", "frames": 1, "poster": False, "sanitise": False, "quality": 90}
        reply, body, _ = made.ask(request, data, 20.0)
    finally:
        made.end()
    assert (reply["frames"], body) == (1, b"")


def test_no_pixel_of_a_former_picture_shows_in_the_next() -> None:
    """A worker keeps the memory of its pictures: what it writes afterwards is what a fresh one writes."""
    request = {"frames": 1, "poster": False, "sanitise": True, "quality": 90}
    small = [({"kind": kind, **request}, bases()[kind][1]) for kind in ("png", "gif", "jpeg", "webp")]
    white = io.BytesIO()
    Image.new("RGB", (1200, 1200), "white").save(white, "PNG")
    written = list[list[bytes]]()
    for before in (False, True):
        made = WorkerProcess(2**30)
        try:
            bodies = list[bytes]()
            for asked, data in small:
                if before:
                    made.ask({"kind": "png", **request}, white.getvalue(), 60.0)
                bodies.append(made.ask(asked, data, 60.0).body)
            written.append(bodies)
        finally:
            made.end()
    assert written[0] == written[1]
    assert all(written[0])
