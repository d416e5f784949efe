"""The process inside the sandbox, asked over its two pipes."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL
import pytest
from upload_corpus.base import bases

import prodkit
from prodkit.files.decoding.pipe import Channel

HOMES = [str(Path(each.__file__ or "").parents[1]) for each in (prodkit, PIL)]
PROGRAM = "import sys; sys.path += sys.argv[3:]; from prodkit.files.decoding.worker import main; main(*sys.argv[1:3])"


@pytest.fixture(scope="module")
def worker() -> Iterator[tuple[subprocess.Popen[bytes], Channel]]:
    command = [sys.executable, "-I", "-S", "-B", "-c", PROGRAM, str(768 * 2**20), "pictures", *HOMES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        channel = Channel(process.stdout.fileno(), process.stdin.fileno())
        assert channel.receive(20.0) == ({"ready": True}, b"")
        yield process, channel
        process.stdin.close()
        assert process.wait(20.0) == 0  # it leaves when the other end closes


def ask(channel: Channel, kind: str, data: bytes, **more: object) -> tuple[dict[str, Any], bytes]:
    request = {"kind": kind, "frames": 1, "poster": False, "sanitise": False, "quality": 90, "seconds": 20.0}
    channel.send({**request, **more}, data, 20.0)
    return channel.receive(20.0)


def test_it_decodes_each_format_after_the_limits_have_closed(worker: tuple[Any, Channel]) -> None:
    for kind, (_, data) in bases().items():
        if kind not in ("jpeg", "png", "gif", "webp"):
            continue
        reply, body = ask(worker[1], kind, data)
        assert "error" not in reply
        assert body == b""
        reply, body = ask(worker[1], kind, data, sanitise=True)
        assert reply["width"] > 0
        assert len(body) > 50


def test_a_picture_that_is_none_is_an_answer_and_the_worker_goes_on(worker: tuple[Any, Channel]) -> None:
    reply, body = ask(worker[1], "png", b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert reply["error"]
    assert body == b""
    reply, _ = ask(worker[1], "tiff", b"II*\0")
    assert reply["error"] == "no decoder for tiff"
    reply, _ = ask(worker[1], "png", bases()["png"][1])
    assert "error" not in reply


def test_its_limits_are_those_it_was_given(worker: tuple[subprocess.Popen[bytes], Channel]) -> None:
    limits = Path(f"/proc/{worker[0].pid}/limits")
    if not limits.exists():
        pytest.skip("this system has no /proc/PID/limits")
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.read_text().splitlines()}
    assert rows["Max address space"] == [str(768 * 2**20)] * 2
    assert rows["Max file size"] == ["0", "0"]
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max open files"] == ["3", "3"]
    if os.getuid() != 0:
        assert rows["Max processes"] == ["0", "0"]


def test_a_message_that_is_no_message_ends_it() -> None:
    command = [sys.executable, "-I", "-S", "-B", "-c", PROGRAM, str(768 * 2**20), "pictures", *HOMES]
    head = json.dumps([]).encode()
    done = subprocess.run(
        command,
        input=struct.pack("!II", len(head), 0) + head,
        capture_output=True,
        env={},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == b""
