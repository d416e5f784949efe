from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prodkit.logs import DailyFile
from prodkit.logs.files import compress_old, finish_compressing

WRITER = """
import sys, time
from loguru import logger
from prodkit import logs

class Slow:
    def write(self, text): time.sleep(0.05)
    def flush(self): pass

logs.setup(directory=sys.argv[1], stream=Slow(), max_bytes=60_000, compress=True, queue_size=100)
for number in range(int(sys.argv[3])):
    logger.bind(writer=sys.argv[2], number=number, padding="x" * (number % 200)).info("line")
print("done", flush=True)
time.sleep(float(sys.argv[4]))
"""


def read(directory: Path) -> list[tuple[str, int]]:
    seen = []
    for path in directory.iterdir():
        assert not path.name.endswith(".partial")
        if not path.name.startswith("service."):
            continue
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in text.decode().splitlines():
            entry = json.loads(line)
            seen.append((entry["writer"], entry["number"]))
    return seen


@pytest.mark.slow
def test_several_processes_share_sized_and_compressed_files(tmp_path: Path) -> None:
    """Four writers, a 50 ms stream, rotation by size with gzip, SIGTERM in two: each line once."""
    count = 5000
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen(
            [
                sys.executable, "-W", "ignore", "-c", WRITER, str(tmp_path), str(number), str(count),
                "30" if number < 2 else "0",
            ],
            env=environ, stdout=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "done\n"
    for writer in writers[:2]:
        writer.send_signal(signal.SIGTERM)
    assert [writer.wait(timeout=60) for writer in writers] == [-signal.SIGTERM] * 2 + [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    seen = read(tmp_path)
    assert len(seen) == len(set(seen)) == 4 * count
    assert list(tmp_path.glob("service.*.log.gz"))
    assert all(path.stat().st_size < 70_000 for path in tmp_path.glob("service.*.log"))
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = DailyFile(tmp_path, "service", keep_days=1)
    file.write(b"first\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        file.write(b"this line does not fit any more\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    file.write(b"third\n")
    assert file.path.read_bytes() == b"first\nthird\n"
    assert file.lost == 1
    assert "cannot write service" in capsys.readouterr().err
    file.close()


def test_sizes_and_names(tmp_path: Path) -> None:
    file = DailyFile(tmp_path, "service", keep_days=1, max_bytes=1024)
    for _ in range(5):
        file.write(b"x" * 600 + b"\n")
    assert [path.stat().st_size for path in sorted(tmp_path.iterdir(), key=lambda path: path.name.count("."))]
    assert len(list(tmp_path.iterdir())) == 5
    file.close()
    with pytest.raises(
        ValueError, match=r"keep_days must be an integer of at least 1, got 0; max_bytes must be"
    ):
        DailyFile(tmp_path, "service", keep_days=0, max_bytes=5)


def test_earlier_days_are_compressed(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    (tmp_path / f"service.{day}.log").write_bytes(b"yesterday\n")
    file = DailyFile(tmp_path, "service", keep_days=7, compress=True)
    file.write(b"today\n")
    until = time.monotonic() + 10
    packed = tmp_path / f"service.{day}.log.gz"
    while not packed.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert gzip.decompress(packed.read_bytes()) == b"yesterday\n"
    file.close()


def test_a_part_that_was_made_once_more_loses_no_line(tmp_path: Path) -> None:
    """A writer that looked for the gzip before another process made it creates the part again."""
    first = tmp_path / "service.2026-11-24.1.log"
    packed = first.with_suffix(".log.gz")
    for text in (b"one\n", b"two\n", b"two\n", b""):
        first.write_bytes(text)
        compress_old(tmp_path, "service", current=tmp_path / "service.2026-11-24.2.log")
        finish_compressing()
        assert not first.exists()
    assert gzip.decompress(packed.read_bytes()) == b"one\ntwo\n"  # the third was left by a signal
    assert [path.name for path in tmp_path.iterdir()] == [packed.name]
