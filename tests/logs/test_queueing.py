from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

from loguru import logger

from prodkit import Runtime, logs
from prodkit.logs.queueing import StreamQueue


class Slow(io.StringIO):
    """A stream whose writes wait for `gate`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.reached = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.gate.wait(60)
        return super().write(text)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_a_slow_stream_does_not_stall_the_loop() -> None:
    stream = Slow()  # its first write ends when the gate opens, after the last line
    with logs.setup(stream=stream, runtime=Runtime()):
        for number in range(100):
            logger.info(f"line {number}")
            await asyncio.sleep(0)
        assert not stream.getvalue()
        stream.gate.set()
    assert [line["message"] for line in lines(stream)] == [f"line {number}" for number in range(100)]


def test_what_does_not_fit_is_counted_and_reported() -> None:
    stream = Slow()
    with logs.setup(stream=stream, queue_size=10, runtime=Runtime()) as logging:
        logger.info("line 0")
        assert stream.reached.wait(10)  # the thread has it: what follows waits in the queue
        for number in range(1, 50):
            logger.info(f"line {number}")
        dropped = logging.dropped
        stream.gate.set()
    assert 30 <= dropped <= 40
    found = [line["message"] for line in lines(stream)]
    assert sum(message.startswith("line ") for message in found) == 50 - dropped
    assert [message for message in found if "dropped" in message] == [
        f"{dropped} log lines were dropped: the stream is too slow"
    ]


def test_memory_streams_are_written_at_once_and_closed_queues_too() -> None:
    stream = io.StringIO()
    queue = StreamQueue(lambda: stream, size=1, report=lambda count: b"")
    queue.put(b"a\n")
    assert stream.getvalue() == "a\n"
    queue.close()
    queue.put(b"b\n")
    assert stream.getvalue() == "a\nb\n"


CHILD = """
import os, signal, sys
from loguru import logger
from prodkit import logs
logs.setup()
for number in range(200):
    logger.info(f"line {number}")
how = sys.argv[1]
if how == "term":
    os.kill(os.getpid(), signal.SIGTERM)
elif how == "fork":
    child = os.fork()
    logger.info(f"after the fork {child == 0}")
    if child == 0:
        sys.exit(0)
    os.waitpid(child, 0)
"""


def run(how: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, how], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=60,
    )  # fmt: skip
    return done.returncode, [json.loads(line)["message"] for line in done.stderr.splitlines()]


def test_lines_are_flushed_at_exit_at_sigterm_and_in_a_fork() -> None:
    wanted = [f"line {number}" for number in range(200)]
    assert run("exit") == (0, wanted)
    assert run("term") == (-signal.SIGTERM, wanted)
    code, found = run("fork")
    assert code == 0
    assert found[:200] == wanted
    assert sorted(found[200:]) == ["after the fork False", "after the fork True"]


def test_an_object_that_logs_loses_and_leaks_nothing(capsys: Any) -> None:
    class Chatty:
        def __str__(self) -> str:
            logger.info("inside, password=hunter2")
            return "chatty"

    class Endless:
        def __str__(self) -> str:
            logger.bind(value=self).info("again")
            return "endless"

    stream = io.StringIO()
    with logs.setup(stream=stream, runtime=Runtime()):
        logger.bind(value=Chatty()).info("outside")
        logger.bind(value=Endless()).info("first")
    found = [line["message"] for line in lines(stream)]
    assert found[:2] == ["inside, password=***", "outside"]
    assert "first" in found
    assert len(found) < 10
    assert "hunter2" not in capsys.readouterr().err + stream.getvalue()


FORKED = """
import asyncio, multiprocessing, os, sys
from loguru import logger
from prodkit import logs

def plain(name):
    for number in range(100):
        logger.info("{} {}", name, number)

def looped(name):
    async def main():
        plain(name)
    asyncio.run(main())

logs.setup()
plain("parent")
for name, work in (("pool 1", plain), ("pool 2", looped)):
    process = multiprocessing.get_context("fork").Process(target=work, args=(name,))
    process.start()
    process.join()
child = os.fork()
if child == 0:
    plain("forked")
    os._exit(0)
os.waitpid(child, 0)
"""


def test_no_line_of_a_forked_process_is_lost_when_it_leaves_without_atexit() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    found = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    wanted = [
        f"{name} {number}" for name in ("parent", "pool 1", "pool 2", "forked") for number in range(100)
    ]
    assert sorted(found) == sorted(wanted)
