"""Metrics from the event stream, scraped by Prometheus.

python examples/17_telemetry.py
"""

import asyncio

from prometheus_client import CollectorRegistry

import prodkit as pk
from prodkit import telemetry

rt = pk.Runtime()
exporter = telemetry.prometheus.install(runtime=rt, registry=CollectorRegistry())
breaker = pk.CircuitBreaker("payments", failures=2, open_for=30, runtime=rt)


async def pay() -> None:
    raise ConnectionError("refused")


async def main() -> None:
    for _ in range(4):
        try:
            await breaker.run(pay)
        except (ConnectionError, pk.CircuitOpenError) as error:
            print(type(error).__name__)


asyncio.run(main())
text = exporter.text().decode()
print("\n".join(line for line in text.splitlines() if "breaker" in line and not line.startswith("#")))
assert 'prodkit_breaker_transitions_total{after="open",breaker="payments"} 1.0' in text
