"""What the sandbox promises: it can be killed, it heals, it holds nothing worth stealing."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from upload_corpus.base import bases, encoded

from prodkit import Deadline, DeadlineExceededError, MissingExtraError, files
from prodkit.files.decoding.process import DecodeKilledError, WorkerProcess
from prodkit.files.decoding.sandbox import (
    DecodeCrashedError,
    Decoded,
    DecodeMemoryError,
    DecodeTimeoutError,
    Sandbox,
    UndecodableError,
)
from prodkit.testing import virtual_time

# A worker whose decoder has the faults that a real one must not show us on demand.
FAULTY = """
import sys; sys.path += sys.argv[3:]
import ctypes, json, os, resource, socket, time
from prodkit.files.decoding import decode, worker
def faulty(kind, data, **options):
    if data == b"crash": ctypes.string_at(0)
    if data == b"hang":
        while True: pass
    if data == b"nonsense": os.write(1, b"\\xff" * 64)
    if data == b"leave": os._exit(3)
    if data == b"killed": os.kill(os.getpid(), 9)
    if data == b"patient": time.sleep(1.5)
    if data == b"memory": bytearray(2 * 2**30)
    if data == b"look":
        def tried(do):
            try: do()
            except OSError as error: return error.errno
            return 0
        raise decode.Undecodable(json.dumps({
            "environment": dict(os.environ), "descriptors": [n for n in range(200) if not tried(lambda: os.fstat(n))],
            "open": tried(lambda: open("/etc/passwd")), "socket": tried(socket.socket), "cwd": os.getcwd(),
            "group": os.getpgid(0) == os.getpid(), "pid": os.getpid(),
        }))
    return {"width": 1, "height": 1, "frames": 1}, b""
worker._warm = lambda: None
decode.decode = faulty
worker.main(*sys.argv[1:3])
"""


@pytest.fixture
async def faulty(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    monkeypatch.setattr(WorkerProcess, "boot", FAULTY)
    async with Sandbox(workers=2, timeout=3.0) as made:
        yield made


async def look(sandbox: Sandbox) -> dict[str, object]:
    with pytest.raises(UndecodableError) as caught:
        await sandbox.decode("jpeg", b"look")
    found: dict[str, object] = json.loads(str(caught.value))
    return found


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (b"crash", DecodeCrashedError),
        (b"nonsense", DecodeCrashedError),
        (b"leave", DecodeCrashedError),
        (b"memory", DecodeMemoryError),
        (b"hang", DecodeTimeoutError),
    ],
)
async def test_every_fault_is_an_answer_and_the_sandbox_heals(
    faulty: Sandbox, fault: bytes, answer: type[Exception], running_time: Callable[[], float]
) -> None:
    began = running_time()
    with pytest.raises(answer):
        await faulty.decode("jpeg", fault)
    assert running_time() - began < 5
    assert await faulty.decode("jpeg", b"fine") == Decoded(1, 1, 1, "jpeg")


async def test_a_crash_is_a_refusal_with_a_reason(faulty: Sandbox) -> None:
    validator = files.Validator(files.ImagePolicy(), sandbox=faulty)
    data = bases()["jpeg"][1]
    validator_decode = faulty.decode

    async def crash(kind: str, _: bytes, **options: object) -> Decoded:
        return await validator_decode(kind, b"crash", **options)  # type: ignore[arg-type]

    faulty.decode = crash  # type: ignore[method-assign,assignment]
    with pytest.raises(files.InvalidFileError) as caught:
        await validator.check(data, filename="a.jpg", declared_type=None)
    assert [each.code for each in caught.value.problems] == ["decode_crashed"]


async def test_it_inherits_no_environment_no_descriptor_and_can_open_nothing(
    faulty: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSION_SECRET", "not for a decoder")
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        found = await look(faulty)
    finally:
        os.close(secret)
    assert "SESSION_SECRET" not in str(found["environment"])
    assert found["descriptors"] == [0, 1, 2]
    assert found["open"] != 0
    assert found["socket"] != 0
    assert found["cwd"] == "/"
    assert found["group"] is True


async def test_a_cancelled_check_kills_the_worker_and_frees_the_slot(
    faulty: Sandbox, running_time: Callable[[], float]
) -> None:
    first = asyncio.create_task(faulty.decode("jpeg", b"hang"))
    second = asyncio.create_task(faulty.decode("jpeg", b"hang"))
    await asyncio.sleep(0.3)
    for task in (first, second):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    began = running_time()
    await faulty.decode("jpeg", b"fine")
    assert running_time() - began < 0.9  # less than the time limit: none waited for the hanging ones


async def test_a_cancelled_wait_in_the_queue_starts_nothing(faulty: Sandbox) -> None:
    running = [asyncio.create_task(faulty.decode("jpeg", b"hang")) for _ in range(2)]
    waiting = asyncio.create_task(faulty.decode("jpeg", b"hang"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    answers = await asyncio.gather(*running, waiting, return_exceptions=True)
    assert [type(each) for each in answers] == [
        DecodeTimeoutError,
        DecodeTimeoutError,
        asyncio.CancelledError,
    ]


async def test_the_deadline_of_the_caller_kills_too(faulty: Sandbox) -> None:
    validator = files.Validator(files.ImagePolicy(), sandbox=faulty)
    real = faulty.decode

    async def hang(kind: str, _: bytes, **options: object) -> Decoded:
        return await real(kind, b"hang", **options)  # type: ignore[arg-type]

    faulty.decode = hang  # type: ignore[method-assign,assignment]
    with Deadline.after(0.3), pytest.raises(DeadlineExceededError):
        await validator.check(bases()["jpeg"][1], filename="a.jpg", declared_type=None)


async def test_workers_are_reused_and_end_with_the_sandbox(faulty: Sandbox) -> None:
    first, second = await look(faulty), await look(faulty)
    assert first["pid"] == second["pid"]
    await faulty.aclose()
    assert not Path(f"/proc/{first['pid']}").exists()
    third = await look(faulty)
    assert third["pid"] != first["pid"]


async def test_a_worker_that_died_while_idle_is_replaced(faulty: Sandbox) -> None:
    pid = (await look(faulty))["pid"]
    assert isinstance(pid, int)
    os.kill(pid, 9)
    await asyncio.sleep(0.05)
    await faulty.decode("jpeg", b"fine")


async def test_a_worker_that_is_killed_from_outside_is_replaced_once(faulty: Sandbox) -> None:
    with pytest.raises(DecodeKilledError, match="signal 9"):
        await faulty.decode("jpeg", b"killed")
    assert faulty.restarts == 2
    pid = (await look(faulty))["pid"]
    assert isinstance(pid, int)
    waiting = asyncio.create_task(faulty.decode("jpeg", b"patient"))
    await asyncio.sleep(0.1)
    os.kill(pid, 9)
    assert await waiting == Decoded(1, 1, 1, "jpeg")
    assert faulty.restarts == 3


async def test_the_real_worker_meets_its_memory_limit() -> None:
    huge = encoded("PNG", None)
    async with Sandbox(workers=1, memory_bytes=300 * 2**20) as small:
        await small.decode("png", huge)
        flat = encoded("PNG", __import__("PIL.Image").Image.new("RGBA", (9_000, 9_000)))
        with pytest.raises(DecodeMemoryError):
            await small.decode("png", flat)
        await small.decode("png", huge)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import asyncio, os\n"
        "from prodkit.files.decoding.sandbox import Sandbox\n"
        "async def main():\n"
        "    made = Sandbox(workers=1)\n"
        "    await made.start()\n"
        "    print(made._idle[0].pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    source = str(Path(files.__file__ or "").parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    pid = int(done.stdout)
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent")


def test_wrong_limits_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="workers must be an integer of at least 1, got 0; memory_bytes"):
        Sandbox(workers=0, memory_bytes=1)
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0 or None, got 0"):
        Sandbox(timeout=0)


async def test_an_old_pillow_is_refused_with_the_command_that_replaces_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boot = "import sys; sys.path += sys.argv[3:]; import PIL; PIL.__version__ = '12.3.0'; "
    monkeypatch.setattr(WorkerProcess, "boot", boot + WorkerProcess.boot)
    with pytest.raises(
        MissingExtraError, match=r"Pillow 12.3.0 .*run `pip install 'prodkit-resilience\[files\]'`"
    ):
        await Sandbox().start()


async def test_closing_one_validator_disturbs_no_other_that_shares_the_sandbox() -> None:
    data = bases()["jpeg"][1]
    first, second = files.Validator(files.ImagePolicy()), files.Validator(files.ImagePolicy())
    running = [asyncio.create_task(second.check(data, filename=None, declared_type=None)) for _ in range(8)]
    await first.start()
    await first.aclose()
    assert [clean.size for clean in await asyncio.gather(*running)] == [len(data)] * 8
    await second.aclose()


@virtual_time
async def test_it_works_on_virtual_time() -> None:
    clean = await files.Validator(files.ImagePolicy()).check(
        bases()["png"][1], filename="a.png", declared_type=None, sanitise=True
    )
    assert clean.frames == 1


def test_a_forked_process_starts_its_own_workers() -> None:
    code = (
        "import asyncio, os, sys\n"
        "from prodkit.files.decoding.sandbox import shared\n"
        "data = bytes.fromhex(sys.argv[1])\n"
        "decode = lambda: asyncio.run(shared().decode('png', data))\n"
        "decode()\n"
        "first = shared()._idle[0].pid\n"
        "child = os.fork()\n"
        "decode()\n"
        "assert (shared()._idle[0].pid == first) is bool(child)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 0)\n"
    )
    command = [sys.executable, "-c", code, bases()["png"][1].hex()]
    source = str(Path(files.__file__ or "").parents[2])
    subprocess.run(command, env={"PYTHONPATH": source}, check=True, timeout=30)
