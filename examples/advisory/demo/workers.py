"""The demo's worker processes: each is replaced when it dies, and all are gone with the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import advisory
import prodkit
from advisory.settings import Settings
from prodkit.core.secrets import Revealable

__all__ = ["Workers", "environment_of"]

_AGAIN: Final = 0.3


class Workers:
    """Keep `count` worker processes running, with their logs and events in `directory`."""

    def __init__(self, directory: Path, *, count: int = 2) -> None:
        self.events = [directory / f"worker-{n}.jsonl" for n in range(1, count + 1)]
        self._directory = directory
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def start(self, settings: Settings) -> None:
        """Start them one after the other, in the background: the pages need none to be shown."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in self.events:  # those of the last demo are no news
            path.unlink(missing_ok=True)
        variables = environment_of(settings)
        for n in range(len(self.events)):
            thread = threading.Thread(target=self._keep, args=(n, variables), name=f"worker-{n}", daemon=True)
            thread.start()
            self._threads.append(thread)

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [each.pid for each in self._processes.values() if each.poll() is None]

    def kill(self, pid: int | None = None) -> int | None:
        """Kill one with SIGKILL, as an out-of-memory killer does; the one of `pid` when it is ours."""
        running = self.pids
        if not running:
            return None
        chosen = pid if pid in running else running[0]
        with suppress(ProcessLookupError):
            os.kill(chosen, signal.SIGKILL)
        return chosen

    def stop(self) -> None:
        """Ask them to hand over their jobs, and kill those that do not leave within two seconds: jobs are safe."""
        self._stopping.set()
        for process in list(self._processes.values()):
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
        for thread in self._threads:
            thread.join(8.0)

    def _keep(self, n: int, variables: dict[str, str]) -> None:
        if n:
            self._stopping.wait(3.0)  # two cold starts at once are slower than one after the other
        while not self._stopping.is_set():
            with (self._directory / f"worker-{n + 1}.log").open("ab") as log:
                self._run(n, variables, log)
            self._stopping.wait(_AGAIN)

    def _run(self, n: int, variables: dict[str, str], log: IO[bytes]) -> None:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "advisory.demo.worker", str(self.events[n])],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        self._processes[n] = process
        try:
            while process.poll() is None:
                if self._stopping.wait(0.05):
                    break
            if process.poll() is None:
                assert process.stdin is not None
                with suppress(OSError):
                    process.stdin.close()
                process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
        finally:
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
            process.wait()


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment that gives another process the same settings; secrets travel in it, never in arguments."""
    variables = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")
    }
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Revealable):
            value = value.reveal()
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, list):
            value = ",".join(map(str, value))
        elif isinstance(value, dict):
            continue  # prices: the defaults are right
        if value is not None:
            variables[name.upper()] = str(value)
    homes = {str(Path(each).resolve().parent) for each in (*advisory.__path__, *prodkit.__path__)}
    variables["PYTHONPATH"] = os.pathsep.join(sorted(homes))
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    return variables
