"""The simulator's handle: starts the process, writes its script, reads its counters."""

from __future__ import annotations

import base64
import time
from typing import Any

from prodkit.core.validate import Arguments
from prodkit.testing.anthropic.answers import answer_function
from prodkit.testing.anthropic.behaviour import Behaviour, BehaviourLike
from prodkit.testing.anthropic.personalities import PERSONALITIES
from prodkit.testing.anthropic.state import Counters, Received
from prodkit.testing.process import SimulatorProcess, ask

__all__ = ["Simulator"]

_BYTES = "application/octet-stream"


class Simulator(SimulatorProcess):
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
        options = {
            "answers": answers,
            "delay": delay,
            "continuation": continuation,
            "seed": seed,
            "host": host,
            "port": port,
        }
        super().__init__("prodkit.testing.anthropic", options, start_timeout=start_timeout)

    @property
    def url(self) -> str:
        """The base URL for a client, ``http://127.0.0.1:port``."""
        return self._address("url")

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
        return ask(self.url, command, arguments)

    def __repr__(self) -> str:
        state = self.url if self._process else "stopped"
        return f"Simulator({state}, answers={self._options['answers']!r})"
