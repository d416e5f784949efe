"""How long /api/health takes while a dependency hangs for 30 s and a thousand clients ask at once.

    python benchmarks/health_hung.py

Raw ASGI requests through the whole middleware stack, waves of 1000 concurrent ones over five seconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from starlette.applications import Starlette

from prodkit import CheckResult, Health, web
from prodkit.sessions import MemoryStore, Sessions


class Dependency:
    def __init__(self, name: str) -> None:
        self.name = name
        self.takes = 0.002
        self.looks = 0

    async def check(self) -> CheckResult:
        self.looks += 1
        await asyncio.sleep(self.takes)
        return CheckResult("up")


async def main() -> int:
    hung, fine = Dependency("hung"), Dependency("fine")
    app = Starlette(routes=web.health_routes(Health(hung, fine)))
    web.install(app, sessions=Sessions(MemoryStore(), secret="only-a-benchmark-0123456789-abcdefgh"))

    async def probe() -> float:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "GET", "path": "/api/health", "query_string": b"", "headers": []}
        began = time.perf_counter()
        await app(scope, receive, send)
        return time.perf_counter() - began

    await probe()
    hung.takes = 30.0
    await asyncio.sleep(2.1)
    looks, singles, spent = hung.looks + fine.looks, [], []
    end = time.perf_counter() + 5
    while time.perf_counter() < end:
        singles.append(await probe())
        spent += await asyncio.gather(*(probe() for _ in range(1000)))
    for name, found in (("one at a time", sorted(singles)), ("in waves of 1000", sorted(spent))):
        middle, tail = found[len(found) // 2], found[int(len(found) * 0.99)]
        print(
            f"{name:<18}{len(found):>7} requests   median {middle * 1000:6.1f} ms   p99 {tail * 1000:6.1f} ms"
        )
    print(f"looks at the two dependencies in 5 s: {hung.looks + fine.looks - looks}")
    return 0 if sorted(singles)[int(len(singles) * 0.99)] < 0.1 else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
