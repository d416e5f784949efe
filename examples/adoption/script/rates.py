"""A plain script with prodkit: a guarded, cached call in synchronous code; nothing to start and nothing to close."""

from __future__ import annotations

import prodkit as pk

calls = 0


def rate(currency: str) -> float:
    global calls
    calls += 1
    if calls == 1:
        raise ConnectionError("reset by peer")
    return {"EUR": 5.4}[currency]


exchange = pk.Pipeline(pk.Retry(attempts=3), pk.CircuitBreaker("exchange"))

if __name__ == "__main__":
    print(exchange.call(rate, "EUR"))
