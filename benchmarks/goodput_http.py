"""Goodput under fault over loopback sockets: the trace in real time, a server process, real httpx clients.

    python -m benchmarks.goodput_http                              # all stacks that are installed
    python -m benchmarks.goodput_http prodkit --seconds-per-phase 6 --seeds 3

The rules are those of prodkit.testing.trace; every phase lasts `--seconds-per-phase`. The stacks are those of
benchmarks/_stacks.py, each around one `httpx.AsyncClient` a client; "ResilientTransport" has the policies below the
client instead. Requests are counted where httpx hands them to its transport, for everybody alike. Real time wants a
quiet machine: "normal p99" is the slowest answer in health and says whether it was (about 0.3 s).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import socket
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import httpx

import prodkit as pk
from benchmarks._stacks import ATTEMPT, STACKS, Call, prodkit_stack
from prodkit.http import HostPolicies, ResilientTransport, says_ill, says_overloaded
from prodkit.policies.adaptive import AdaptiveLimit
from prodkit.policies.budget import RetryBudget
from prodkit.policies.gate import RetryAfterGate
from prodkit.testing.trace import CLIENTS, TRACE, Phase, Report, UpstreamError, drive

HOST = "127.0.0.1"


class Counting(httpx.AsyncHTTPTransport):
    """Counts what is sent, by phase, and what is sent although its client was asked to wait."""

    def __init__(self, remote: Remote) -> None:
        super().__init__(limits=httpx.Limits(max_connections=1000, max_keepalive_connections=100))
        self.remote = remote
        self.told = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        remote = self.remote
        remote.requests[remote.phase()] += 1
        if time.monotonic() < self.told:
            remote.violations += 1
        response = await super().handle_async_request(request)
        if wait := response.headers.get("retry-after"):
            self.told = max(self.told, time.monotonic() + float(wait))
        return response


class Remote:
    """The upstream as the clients see it; `guard` goes around the transport of each."""

    def __init__(
        self, port: int, trace: tuple[Phase, ...], began: float, guard: Callable[[Counting, int], object]
    ) -> None:
        self.trace = trace
        self.began = began
        self.requests: Counter[str] = Counter()
        self.violations = 0
        self.wasted = 0
        self.clients = [
            httpx.AsyncClient(
                transport=guard(Counting(self), client),  # type: ignore[arg-type]
                base_url=f"http://{HOST}:{port}",
                headers={"x-client": str(client)},
                timeout=None,
            )
            for client in range(CLIENTS)
        ]

    def phase(self) -> str:
        elapsed = time.monotonic() - self.began
        for phase in self.trace:
            elapsed -= phase.seconds
            if elapsed < 0:
                return phase.name
        return "end"

    async def request(self, client: int) -> None:
        """The upstream that every stack guards: the errors are those that the stacks know."""
        try:
            response = await self.clients[client].get("/")
        except httpx.TransportError as error:
            raise ConnectionError(type(error).__name__) from error
        if response.status_code != 200:
            wait = response.headers.get("retry-after")
            raise UpstreamError(response.status_code, float(wait) if wait else None)

    async def aclose(self) -> None:
        for client in self.clients:
            await client.aclose()


def bare(transport: Counting, client: int) -> object:
    return transport


def resilient(transport: Counting, client: int) -> ResilientTransport:
    """The published configuration (see prodkit_stack), below the client."""

    def policies(host: str, runtime: pk.Runtime) -> HostPolicies:
        return HostPolicies(
            breaker=pk.CircuitBreaker(
                host,
                failures=10,
                failure_rate=0.6,
                window_seconds=5,
                open_for=0.5,
                open_growth=2,
                max_open_for=1.5,
                open_jitter=0.3,
                on=says_ill,
                runtime=runtime,
            ),
            gate=RetryAfterGate(host, runtime=runtime),
            budget=RetryBudget(runtime=runtime),
            attempts=5,
            attempt_timeout=ATTEMPT,
            limit=AdaptiveLimit(overloaded=says_overloaded, runtime=runtime),
        )

    return ResilientTransport(transport, policies=policies, runtime=pk.Runtime(rng=random.Random(client)))


async def run(
    stack: Callable[[int, Remote], Call],
    guard: Callable[[Counting, int], object],
    *,
    seconds: float,
    seed: int,
) -> tuple[Report, float]:
    trace = tuple(replace(phase, seconds=seconds) for phase in TRACE)
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks._upstream", stdin=-1, stdout=-1
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        await server.stdout.readline()
        began, port = time.monotonic() + 0.5, free_port()
        plan = {
            "trace": [(phase.name, phase.seconds, phase.fault) for phase in trace],
            "seed": seed,
            "strict": False,
            "began": began,
            "port": port,
        }
        server.stdin.write(json.dumps(plan).encode() + b"\n")
        remote = Remote(port, trace, began, guard)
        calls = [stack(client, remote) for client in range(CLIENTS)]
        await asyncio.sleep(began - time.monotonic())
        cpu = sum(os.times()[:2])
        report = await drive(calls, remote, trace=trace, seed=seed)
        cpu = sum(os.times()[:2]) - cpu
        server.stdin.close()
        counted = json.loads(await server.stdout.readline())
        await remote.aclose()
        return replace(report, wasted=counted["wasted"]), cpu / (seconds * len(trace))
    finally:
        if server.returncode is None:
            server.stdin.close()
            try:
                await asyncio.wait_for(server.wait(), 5)
            except TimeoutError:
                server.kill()


def free_port() -> int:
    """Below the range of outgoing ports: a client of a closed port in it may find itself connected to itself."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as candidate:
            try:
                candidate.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port below 32000")


COLUMNS: tuple[tuple[str, Callable[[Report], float]], ...] = (
    ("goodput %", lambda r: 100 * r.goodput),
    ("amplification", lambda r: r.amplification),
    ("outage ampl.", lambda r: r["outage"].amplification),
    ("outage fail p99 s", lambda r: r["outage"].p99),
    ("after outage %", lambda r: 100 * r["after outage"].answered),
    ("brownout %", lambda r: 100 * r["brownout"].answered),
    ("after it %", lambda r: 100 * r["after brownout"].answered),
    ("429 %", lambda r: 100 * r["throttle"].answered),
    ("violations", lambda r: r.violations),
    ("30 % errors %", lambda r: 100 * r["partial"].answered),
    ("its ampl.", lambda r: r["partial"].amplification),
    ("wasted", lambda r: r.wasted),
    ("normal p99 s", lambda r: r["normal"].p99),
)


def through_transport(client: int, remote: Remote) -> Call:
    async def request() -> None:
        await remote.request(client)

    return request


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stacks", nargs="*", help="parts of the names to run (default: all)")
    parser.add_argument("--seconds-per-phase", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    rows: dict[str, tuple[Callable[[int, Remote], Call], Callable[[Counting, int], object]]] = {
        "prodkit": (prodkit_stack, bare),
        "prodkit, as ResilientTransport": (through_transport, resilient),
        **{name: (stack, bare) for name, stack in STACKS.items() if name != "prodkit"},
    }
    names = [name for name, _ in COLUMNS]
    print(f"| stack (median of {options.seeds}) | {' | '.join(names)} | cpu of the clients % |", flush=True)
    print("|---" * (len(COLUMNS) + 2) + "|")
    for name, (stack, guard) in rows.items():
        if options.stacks and not any(part in name for part in options.stacks):
            continue
        reports: list[Report] = []
        shares: list[float] = []
        try:
            for seed in range(1, options.seeds + 1):
                report, cpu = asyncio.run(run(stack, guard, seconds=options.seconds_per_phase, seed=seed))
                reports.append(report)
                shares.append(cpu)
        except ImportError as missing:
            print(f"| {name} | not installed: {missing.name} |", flush=True)
            continue
        cells = [f"{statistics.median(get(report) for report in reports):.4g}" for _, get in COLUMNS]
        cells.append(f"{100 * statistics.median(shares):.0f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
