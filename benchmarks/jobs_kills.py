"""Workers killed with -9 every two seconds, and one frozen for five: what five systems lose, repeat and do twice.

Each system executes the same 60 runs of five half-second steps in two workers; see ``_job_peers.py``. A killed worker
is started again at once. A peer that is not installed is left out: ``python3 noxfile.py bench --peers jobs_kills``.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks._job_peers import STEPS, SYSTEMS
from benchmarks.harness import Table, run
from prodkit.testing.servers import Postgres, Redis

RUNS = int(os.environ.get("PRODKIT_JOBS_RUNS", "60"))
KILLED_FOR = 16.0
"""Seconds of kills."""
FROZEN = (3.0, 8.0)
PATIENCE = 45.0
"""Seconds after the last kill in which the rest may end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the calls' log says."""

    finished: int
    extra: int
    again: int
    twice: int
    late: float
    kills: int


def outcome(directory: Path, kills: int, last_kill: float) -> Outcome:
    """Read the log: ``again`` counts calls of steps that had ended before, ``twice`` runs that ended more than once."""
    lines = sorted(
        (float(at), run_, step, what)
        for each in directory.glob("*.calls")
        for run_, step, what, at in (line.split() for line in each.read_text().splitlines())
    )
    begun = again = 0
    ended = set[tuple[str, str]]()
    finished = Counter[str]()
    last = last_kill
    for at, run_, step, what in lines:
        if step == "run":
            last = at if not finished[run_] else last
            finished[run_] += 1
        elif what == "begin":
            begun += 1
            again += (run_, step) in ended
        else:
            ended.add((run_, step))
    twice = sum(times > 1 for times in finished.values())
    return Outcome(len(finished), begun - RUNS * len(STEPS), again, twice, max(0.0, last - last_kill), kills)


def worker(system: str, url: str, directory: Path, slot: str, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks._job_peers", system, url, str(directory), slot, *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def trial(system: str, url: str, seed: int) -> Outcome:
    """Kill a random worker every two seconds; freeze one from the third second to the eighth."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if system == "dbos":  # its first worker makes the tables
            first = worker(system, url, directory, "w0")
            time.sleep(8)
            first.kill()
            first.wait()
        assert worker(system, url, directory, "enqueue", str(RUNS)).wait(60) == 0
        workers = {slot: worker(system, url, directory, slot) for slot in ("w0", "w1")}
        try:
            while not list(directory.glob("*.calls")) or not any(
                each.stat().st_size for each in directory.glob("*.calls")
            ):
                time.sleep(0.05)
            began = time.monotonic()
            kills, frozen, thawed = 0, False, False
            while (passed := time.monotonic() - began) < KILLED_FOR:
                time.sleep(1.0)
                if not frozen and passed >= FROZEN[0]:
                    workers["w0"].send_signal(signal.SIGSTOP)
                    frozen = True
                if not thawed and passed >= FROZEN[1]:
                    workers["w0"].send_signal(signal.SIGCONT)
                    thawed = True
                if int(passed) % 2:
                    slot = "w1" if not thawed else rng.choice(("w0", "w1"))
                    workers[slot].kill()
                    workers[slot].wait()
                    kills += 1
                    workers[slot] = worker(system, url, directory, slot)
            last = time.time()
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                time.sleep(0.5)
                if outcome(directory, kills, last).finished == RUNS:
                    break
            return outcome(directory, kills, last)
        finally:
            for each in workers.values():
                each.send_signal(signal.SIGCONT)
                each.kill()
                each.wait()


def main() -> Table:
    table = Table(
        "jobs_kills",
        f"{RUNS} runs of 5 steps under kill -9 every 2 s",
        packages=("dbos", "procrastinate", "pgqueuer", "celery"),
    )
    seed = 7
    found: dict[str, Outcome] = {}
    for system in SYSTEMS:
        if system != "prodkit" and importlib.util.find_spec(system) is None:
            table.note(f"{system} is not installed and was left out.")
            continue
        with tempfile.TemporaryDirectory() as name:
            server = Redis() if system == "celery" else Postgres(Path(name) / "postgres")
            with server:
                url = server.url if isinstance(server, Redis) else server.create_database("fleet")
                found[system] = trial(system, url, seed)
        print(f"  {system}: {found[system]}", file=sys.stderr, flush=True)
    ours = found.pop("prodkit")
    rows = (
        (f"runs that finished, of {RUNS}", "finished", {"floor": RUNS}),
        ("finished steps that were called again", "again", {"ceiling": 0}),
        ("step calls beyond one each", "extra", {}),
        ("runs that ended twice", "twice", {"ceiling": 0}),
        ("seconds from the last kill to the last end", "late", {}),
    )
    for name, field, goal in rows:
        peers: dict[str, float | str] = {
            system: float(getattr(each, field)) for system, each in found.items()
        }
        table.add(name, float(getattr(ours, field)), peers=peers, unit="", **goal)
    table.note(
        f"{ours.kills} kills in {KILLED_FOR:.0f} s; one worker frozen for {FROZEN[1] - FROZEN[0]:.0f} s."
    )
    table.note(
        "DBOS: executor ids that are kept over restarts, as without its Conductor service. procrastinate: with its"
        " recipe for stalled jobs every 2 s. Celery: acks_late, visibility timeout 5 s, Redis."
    )
    return table


if __name__ == "__main__":
    run(main)
