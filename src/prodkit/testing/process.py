"""A simulator in a process of its own: started, asked over HTTP, and gone with the process that started it.

::

    SimulatorProcess.start ── python -m MODULE --parent=PID ──► serve_until_stopped
      reads one line of JSON: {"url": …, "pid": …}  ◄───────────  prints it, then waits for
      stop(): closes the child's stdin               ──────────►  the end of its stdin, a signal, or another parent
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import prodkit

__all__ = ["SimulatorProcess", "ask", "serve_until_stopped"]


class SimulatorProcess:
    """The handle of a simulator's process.

    Args:
        module: the module that ``python -m`` runs; it ends in :func:`serve_until_stopped`.
        options: its command line, as ``--name=value``.
        start_timeout: seconds within which the process has to listen.
    """

    def __init__(self, module: str, options: Mapping[str, object], *, start_timeout: float) -> None:
        self._module = module
        self._options = dict(options)
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[str] | None = None
        self._listening: dict[str, Any] = {}

    def start(self) -> Self:
        """Start the process and return when it listens."""
        if self._process is not None:
            raise RuntimeError("this Simulator is already running")
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self._options.items()]
        self._process = process = subprocess.Popen(  # noqa: S603 - our own module, our own options
            [sys.executable, "-m", self._module, f"--parent={os.getpid()}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_paths()), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C reaches the owner, which then stops us in its own order
        )
        lines: Queue[str] = Queue()
        assert process.stdout is not None
        threading.Thread(target=_first_line, args=(process.stdout, lines), daemon=True).start()
        try:
            self._listening = json.loads(lines.get(timeout=self._start_timeout))
        except (Empty, ValueError) as error:
            self.stop()
            raise RuntimeError("the simulator did not start; its error is on stderr") from error
        return self

    def stop(self) -> None:
        """End the process; may be called more than once."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()  # the child ends when its stdin does
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def _address(self, name: str) -> str:
        """Return what the process printed under `name`."""
        if not self._listening:
            raise RuntimeError("this Simulator is not running: call start() or use it in a with block")
        return str(self._listening[name])


def ask(url: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Send a command to the control endpoint of a simulator and return its answer.

    Args:
        url: the simulator's base URL.
        command: the last part of the path.
        arguments: JSON.

    Raises:
        ValueError: the simulator refused it, with its reason.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("POST", f"/_control/{command}", json.dumps(arguments), {"connection": "close"})
        answer = connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"the simulator refused {command}: {body.get('problem')}")
    return body


async def serve_until_stopped(listening: Mapping[str, str], *, parent: int, title: str) -> None:
    """Print where the simulator listens, wait for a signal or the end of the parent, and end the process.

    Args:
        listening: addresses by name.
        parent: process id of the owner, which reads the addresses as JSON; 0 when started by hand.
        title: name of the simulator for people.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    watching: list[asyncio.Task[None]] = []
    if parent:
        sys.stdout.write(json.dumps({**listening, "pid": os.getpid()}) + "\n")
        loop.add_reader(sys.stdin.fileno(), _read_to_the_end, stop)
        watching.append(asyncio.create_task(_watch_parent(stop, parent)))
    else:
        sys.stdout.write(f"{title} on {', '.join(listening.values())} (Ctrl-C ends it)\n")
    sys.stdout.flush()
    await stop.wait()
    os._exit(0)  # nothing to save, and answers in flight would complain about being cut


def _read_to_the_end(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


async def _watch_parent(stop: asyncio.Event, parent: int) -> None:
    """Stop when the parent is gone; a fork of it may keep our stdin open."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0.2)
    stop.set()


def _paths() -> list[str]:
    """Return where the child finds prodkit, and the modules of a custom answer function."""
    home = str(Path(prodkit.__file__).resolve().parent.parent)
    return list(dict.fromkeys([home, *(path for path in sys.path if path)]))


def _first_line(stream: Any, lines: Queue[str]) -> None:
    lines.put(stream.readline())
