"""The simulator's handle: starts the process, writes its script, reads its counters."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import prodkit
from prodkit.testing.anthropic.answers import answer_function
from prodkit.testing.anthropic.behaviour import Behaviour, BehaviourLike
from prodkit.testing.anthropic.state import Counters, Received

__all__ = ["SEAMS", "Simulator"]

SEAMS: Final = ("anchor", "exact", "restart")


class Simulator:
    """A Messages API that follows a fault script; its process ends with this one.

    `answers` says what the model replies: ``"words"`` (forty words that never repeat), ``"echo"``, ``"council"``
    (advice in Portuguese, in the character of the system prompt), ``"text:…"``, or ``"module:function"`` for a
    function of the request body that returns a text or a list of content blocks. `delay` is the wait in seconds
    between the deltas of a stream. `seam` is how the model goes on with an answer that was cut: with the words that
    the request quotes and the rest (``"anchor"``), the bare rest (``"exact"``), or all again (``"restart"``).

    Its methods wait for the answer of a process on this machine: some milliseconds, fit for tests.
    """

    def __init__(
        self,
        *,
        answers: str = "words",
        delay: float = 0.0,
        seam: str = "anchor",
        host: str = "127.0.0.1",
        port: int = 0,
        start_timeout: float = 20.0,
    ) -> None:
        if delay < 0:
            raise ValueError(f"delay must be 0 or more seconds, got {delay!r}")
        if seam not in SEAMS:
            raise ValueError(f"seam must be one of {', '.join(SEAMS)}, got {seam!r}")
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be 0 to 65535, got {port!r}")
        answer_function(answers)
        self._options = {"answers": answers, "delay": delay, "seam": seam, "host": host, "port": port}
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    # --------------------------------------------------------------- lifetime

    def start(self) -> Self:
        """Starts the process and returns when it listens."""
        if self._process is not None:
            raise RuntimeError("this Simulator is already running")
        options = [f"--{name}={value}" for name, value in self._options.items()]
        self._process = process = subprocess.Popen(  # noqa: S603 - our own module, our own options
            [sys.executable, "-m", "prodkit.testing.anthropic", f"--parent={os.getpid()}", *options],
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
            told = json.loads(lines.get(timeout=self._start_timeout))
        except (Empty, ValueError) as error:
            self.stop()
            raise RuntimeError("the simulator did not start; its error is on stderr") from error
        self._url = str(told["url"])
        return self

    def stop(self) -> None:
        """Ends the process; may be called more than once."""
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
    def url(self) -> str:
        """The base URL for a client, ``http://127.0.0.1:port``."""
        if not self._url:
            raise RuntimeError("this Simulator is not running: call start() or use it in a with block")
        return self._url

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    # ----------------------------------------------------------------- script

    def script(self, *behaviours: BehaviourLike, model: str | None = None) -> None:
        """Queues one behaviour for each of the next requests (of `model`, when given)."""
        told = [Behaviour.of(each).as_json() for each in behaviours]
        self._ask("script", {"behaviours": told, "model": model})

    def always(self, behaviour: BehaviourLike = "ok", *, model: str | None = None) -> None:
        """What happens to requests (of `model`, when given) once the queues are empty."""
        self._ask("always", {"behaviour": Behaviour.of(behaviour).as_json(), "model": model})

    def configure(self, model: str, *, rejects: tuple[str, ...] = (), unknown: bool = False) -> None:
        """Makes `model` refuse fields of the request with 400, or be unknown (404)."""
        self._ask("model", {"model": model, "rejects": list(rejects), "unknown": unknown})

    def limit(self, requests_per_minute: float | None, *, burst: float | None = None) -> None:
        """Answers 429 beyond this rate and sends ``anthropic-ratelimit-*`` headers; None lifts the limit."""
        if requests_per_minute is not None and requests_per_minute <= 0:
            raise ValueError(f"requests_per_minute must be positive, got {requests_per_minute!r}")
        self._ask("limit", {"per_minute": requests_per_minute, "burst": burst})

    def seam(self, seam: str) -> None:
        """How the model goes on with a cut answer, from now on."""
        if seam not in SEAMS:
            raise ValueError(f"seam must be one of {', '.join(SEAMS)}, got {seam!r}")
        self._ask("seam", {"seam": seam})

    def reset(self) -> None:
        """Forgets script, limits, counters and requests."""
        self._ask("reset", {})

    # ----------------------------------------------------------------- record

    @property
    def counters(self) -> Counters:
        """Totals, open sockets, aborts: at this moment."""
        return Counters(**self._ask("state", {"requests": False})["counters"])

    @property
    def requests(self) -> list[Received]:
        """Every request since the start or the last reset, oldest first (the last 20,000 are kept)."""
        return [Received(**each) for each in self._ask("state", {})["requests"]]

    def wait_until_idle(self, timeout: float = 5.0, *, sockets: int | None = None) -> Counters:
        """Waits until no request is open (and at most `sockets` connections, when given) and returns the counters."""
        end = time.monotonic() + timeout
        while True:
            now = self.counters
            if now.open_requests == 0 and (sockets is None or now.open_sockets <= sockets):
                return now
            if time.monotonic() > end:
                raise TimeoutError(f"the simulator is not idle after {timeout} s: {now}")
            time.sleep(0.02)

    def _ask(self, what: str, told: dict[str, Any]) -> dict[str, Any]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        try:
            connection.request("POST", f"/_control/{what}", json.dumps(told), {"connection": "close"})
            answer = connection.getresponse()
            body: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"the simulator refused {what}: {body.get('problem')}")
        return body

    def __repr__(self) -> str:
        state = self._url if self._process else "stopped"
        return f"Simulator({state}, answers={self._options['answers']!r})"


def _paths() -> list[str]:
    """Where the child finds prodkit, and the modules of a custom answer function."""
    home = str(Path(prodkit.__file__).resolve().parent.parent)
    return list(dict.fromkeys([home, *(path for path in sys.path if path)]))


def _first_line(stream: Any, lines: Queue[str]) -> None:
    lines.put(stream.readline())
