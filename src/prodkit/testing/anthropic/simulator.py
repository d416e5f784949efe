"""The simulator's handle: starts the process, writes its script, reads its counters."""

from __future__ import annotations

import base64
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
from typing import Any, Self
from urllib.parse import urlsplit

import prodkit
from prodkit.core.validate import Arguments
from prodkit.testing.anthropic.answers import answer_function
from prodkit.testing.anthropic.behaviour import Behaviour, BehaviourLike
from prodkit.testing.anthropic.personalities import PERSONALITIES
from prodkit.testing.anthropic.state import Counters, Received

__all__ = ["Simulator"]

_BYTES = "application/octet-stream"


class Simulator:
    """A Messages API that follows a fault script; its process ends with this one.

    Its methods wait for the answer of a process on this machine: some milliseconds, fit for tests.

    Args:
        answers: the replies of the model: ``"words"`` (forty words that never repeat), ``"echo"``, ``"council"``
            (advice in Portuguese, in the character of the system prompt), ``"text:…"``, or ``"module:function"`` for
            a function of the request body that returns a text or a list of content blocks.
        delay: seconds between the deltas of a stream.
        continuation: the way in which the model continues an answer that was cut: "anchor" (as it is asked to),
            "exact", "restart", "more", "fewer", "squeezed", "apology", "bare_apology" or "language".
        seed: of the chance in continuations.
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        start_timeout: seconds within which the process has to listen.
    """

    def __init__(
        self,
        *,
        answers: str = "words",
        delay: float = 0.0,
        continuation: str = "anchor",
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        start_timeout: float = 20.0,
    ) -> None:
        check = Arguments("Simulator")
        check.seconds("delay", delay, zero=True)
        check.one_of("continuation", continuation, PERSONALITIES)
        check.integer("seed", seed)
        check.integer("port", port, minimum=0, maximum=65535)
        check.attempt(lambda: answer_function(answers))
        check.done()
        self._options = {
            "answers": answers,
            "delay": delay,
            "continuation": continuation,
            "seed": seed,
            "host": host,
            "port": port,
        }
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    # --------------------------------------------------------------- lifetime

    def start(self) -> Self:
        """Start the process and return when it listens."""
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
            listening = json.loads(lines.get(timeout=self._start_timeout))
        except (Empty, ValueError) as error:
            self.stop()
            raise RuntimeError("the simulator did not start; its error is on stderr") from error
        self._url = str(listening["url"])
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
        """Queue `behaviours`, one for each of the next requests (of `model`, when given)."""
        queued = [Behaviour.of(each).as_json() for each in behaviours]
        self._ask("script", {"behaviours": queued, "model": model})

    def always(self, behaviour: BehaviourLike = "ok", *, model: str | None = None) -> None:
        """Set the `behaviour` towards requests (of `model`, when given) for empty queues."""
        self._ask("always", {"behaviour": Behaviour.of(behaviour).as_json(), "model": model})

    def storm(self, behaviour: BehaviourLike, seconds: float, *, model: str | None = None) -> None:
        """Answer every request (of `model`, when given) with `behaviour` for `seconds`, ahead of all scripts."""
        self._ask(
            "storm", {"behaviour": Behaviour.of(behaviour).as_json(), "seconds": seconds, "model": model}
        )

    def configure(self, model: str, *, rejects: tuple[str, ...] = (), unknown: bool = False) -> None:
        """Make a `model` refuse fields of the request, `rejects`, with 400, or be `unknown` (404)."""
        self._ask("model", {"model": model, "rejects": list(rejects), "unknown": unknown})

    def limit(self, requests_per_minute: float | None, *, burst: float | None = None) -> None:
        """Answer 429 beyond a rate and send ``anthropic-ratelimit-*`` headers.

        Args:
            requests_per_minute: the rate; None lifts the limit.
            burst: requests that may come at once; None is a minute's worth.
        """
        if requests_per_minute is not None and requests_per_minute <= 0:
            raise ValueError(f"requests_per_minute must be positive, got {requests_per_minute!r}")
        self._ask("limit", {"per_minute": requests_per_minute, "burst": burst})

    def continuation(self, personality: str, *, seed: int = 0) -> None:
        """Set the way in which the model continues a cut answer: a `personality`, with the `seed` of its chance."""
        if personality not in PERSONALITIES:
            raise ValueError(f"continuation must be one of {', '.join(PERSONALITIES)}, got {personality!r}")
        self._ask("continuation", {"continuation": personality, "seed": seed})

    def file(self, content: bytes, *, filename: str = "file.bin", media_type: str = _BYTES) -> str:
        """Keep a file as if the API had made it, so that it can be downloaded, and return its id.

        Args:
            content: its bytes.
            filename: its name.
            media_type: its MIME type.
        """
        encoded = base64.b64encode(content).decode()
        given = {"content": encoded, "filename": filename, "media_type": media_type}
        return str(self._ask("file", given)["id"])

    def reset(self) -> None:
        """Forget script, limits, counters and requests."""
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
        """Wait until no request is open and return the counters.

        Args:
            timeout: seconds.
            sockets: also wait until at most so many connections are open.

        Raises:
            TimeoutError: requests or connections are still open.
        """
        end = time.monotonic() + timeout
        while True:
            now = self.counters
            if now.open_requests == 0 and (sockets is None or now.open_sockets <= sockets):
                return now
            if time.monotonic() > end:
                raise TimeoutError(f"the simulator is not idle after {timeout} s: {now}")
            time.sleep(0.02)

    def _ask(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        parts = urlsplit(self.url)
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

    def __repr__(self) -> str:
        state = self._url if self._process else "stopped"
        return f"Simulator({state}, answers={self._options['answers']!r})"


def _paths() -> list[str]:
    """Return where the child finds prodkit, and the modules of a custom answer function."""
    home = str(Path(prodkit.__file__).resolve().parent.parent)
    return list(dict.fromkeys([home, *(path for path in sys.path if path)]))


def _first_line(stream: Any, lines: Queue[str]) -> None:
    lines.put(stream.readline())
