"""Cost of settings, of redacted log lines and of counted events, on texts and variables that were not seen before."""

import copy
import itertools
import os
import random
import time
from collections.abc import Callable
from typing import Any, TextIO

import pydantic
from loguru import logger
from prometheus_client import CollectorRegistry, Counter, generate_latest
from pydantic_settings import BaseSettings

import prodkit as pk
from benchmarks.harness import Table, ratios, run
from prodkit import env, logs, telemetry
from prodkit.core.secrets import REGISTRY
from prodkit.policies.events import RetryScheduled

PACKAGES = ("loguru", "structlog", "logfire", "pydantic-settings", "prometheus-client")
RNG = random.Random(20261124)
WORDS = """
    request order user completed after retry for the service with status connected to database pool reading cache entry
    from worker queue while sending response route handler items page of and took milliseconds
""".split()  # noqa: SIM905
PARTS = """
    HOME PATH USER LANG SHELL SERVICE TCP ADDR NODE JAVA DOCKER CI BUILD NUMBER REGION DEFAULT DIR
""".split()  # noqa: SIM905
GOOD = {
    "DATABASE_URL": "postgresql://a:b@db/x",
    "API_KEY": "key-1234567890",
    "SESSION_SECRET": "0b5f1c2e9d7a48f3b6c1d0e9f8a7b6c5",
    "PORT": "9",
}


class Ours(env.Settings):
    environment: env.Environment = "development"
    database_url: env.PostgresUrl
    redis_url: env.RedisUrl | None = None
    api_key: env.Secret
    session_secret: env.Secret = env.secret(min_length=32)
    port: int = 8000
    hosts: list[str] = []  # noqa: RUF012
    debug: bool = False


class Bare(BaseSettings):
    environment: env.Environment = "development"
    database_url: pydantic.PostgresDsn
    redis_url: pydantic.RedisDsn | None = None
    api_key: pydantic.SecretStr
    session_secret: pydantic.SecretStr = pydantic.Field(min_length=32)
    port: int = 8000
    hosts: list[str] = []
    debug: bool = False


def message(size: int) -> str:
    text = ""
    while len(text) < size:
        text += RNG.choice(WORDS) + " "
        if RNG.random() < 0.08:
            text += f"id={RNG.randrange(10**6)} "
        if RNG.random() < 0.04:
            text += f"/api/v1/orders/{RNG.randrange(9999)} "
    return text[:size]


async def loads(table: Table) -> None:
    for foreign in (0, 30, 150):
        names = {
            "_".join(RNG.choices(PARTS, k=RNG.randrange(2, 4))) + f"_Q{at}": "v" for at in range(foreign)
        }
        os.environ.clear()
        os.environ.update({**names, **GOOD})
        found = await ratios({"pydantic-settings": Bare, "ours": Ours.load}, calls=50)
        table.add(
            f"Settings.load ÷ pydantic-settings, {foreign} foreign variables", found["ours"], ceiling=1.3
        )


async def lines(table: Table) -> None:
    REGISTRY.clear()  # of what the settings above have registered
    for _ in range(20):
        REGISTRY.add("".join(RNG.choices("abcdefABCDEF0123456789-_", k=RNG.randrange(20, 44))))
    with open(os.devnull, "w") as sink:  # noqa: PTH123 - a text stream, as stderr is
        for size in (40, 320):
            found = await line_ratios(sink, size)
            table.add(
                f"redacted line ÷ loguru serialize, {size} characters, 20 secrets",
                found.pop("ours"),
                ceiling=1.0 if size < 100 else 1.2,
                peers={name: ratio for name, ratio in found.items() if name != "loguru serialize"},
            )
    table.note(
        "loguru and structlog redact nothing. Each has a logger and a stream of its own; loguru and prodkit flush it "
        "after each line, structlog does as well."
    )


async def line_ratios(sink: TextIO, size: int) -> dict[str, float]:
    """Each library has a logger and a stream of its own, as a service that uses it has: nothing is filtered out.

    A copy of loguru's logger has its own sinks, see "Creating independent loggers" in its guide. loguru gets the stream
    itself, which it flushes after each line as it does with stderr; so do we.
    """
    texts = itertools.cycle([message(size) for _ in range(20_000)])
    fields = {"a": 1, "b": "x", "c": 2.0, "route": "/orders", "e": True}
    logger.remove()
    alone = copy.deepcopy(logger)
    with open(os.devnull, "w") as theirs_sink:  # noqa: PTH123
        alone.add(theirs_sink, serialize=True)
        theirs, ours = alone.bind(**fields), logger.bind(**fields)
        with logs.setup(stream=sink, environment="production", runtime=pk.Runtime()):
            works: dict[str, Callable[[], Any]] = {
                "loguru serialize": lambda: theirs.info(next(texts)),
                "ours": lambda: ours.info(next(texts)),
            }
            if (other := structlog_line(sink)) is not None:
                works["structlog"] = lambda: other(next(texts), **fields)
            found = await ratios(works, calls=500, rounds=31)
        alone.remove()
    return found


def structlog_line(sink: TextIO) -> Callable[..., Any] | None:
    """structlog as its guide to performance sets it up: orjson, filtering logger, no standard library."""
    try:
        import orjson
        import structlog
    except ImportError:
        return None
    made: Any = structlog.wrap_logger(
        structlog.WriteLogger(sink),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event).decode()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=True,
    )
    bound: Callable[..., Any] = made.bind().info
    return bound


def nested_event() -> dict[str, Any]:
    """About 565 bytes of JSON whose texts were not seen before."""
    return {
        "message": message(60),
        "request": {
            "method": "POST", "path": f"/api/v1/orders/{RNG.randrange(10**6)}", "headers": [
                ["accept", "application/json"], ["user-agent", message(40)],
                ["x-request-id", f"{RNG.getrandbits(64):x}"],
            ],
        },
        "user": {"id": RNG.randrange(10**6), "name": message(16), "roles": ["admin", "editor"], "active": True},
        "items": [
            {"sku": f"A-{RNG.randrange(9999)}", "count": RNG.randrange(9), "note": message(24)} for _ in range(3)
        ],
        "took_ms": RNG.random() * 100, "attempt": 1, "note": message(60),
    }  # fmt: skip


async def nested(table: Table) -> None:
    try:
        from logfire._internal.scrubbing import Scrubber
    except ImportError:
        table.note("nested event ÷ logfire: run with --peers")
        return
    scrubber = Scrubber(None)
    events = itertools.cycle([nested_event() for _ in range(20_000)])
    found = await ratios(
        {
            "logfire": lambda: scrubber.scrub_value(("attributes",), next(events)),
            "ours": lambda: logs.redact(next(events)),
        },
        calls=500,
    )
    table.add("nested event of new texts ÷ logfire's scrubber, 20 secrets", found["ours"], ceiling=0.6)


async def counts(table: Table) -> None:
    bare, counted = pk.Runtime(), pk.Runtime()
    bare.events.subscribe(lambda event: None)
    registry = CollectorRegistry()
    telemetry.prometheus.install(runtime=counted, registry=registry)
    child = Counter("plain", "Plain.", ["a", "b"], registry=registry).labels("a", "b")
    event = RetryScheduled(call="pay", attempt=1, error="TimeoutError", wait=1.0)

    def baseline() -> None:
        bare.events.emit(event)
        child.inc()

    found = await ratios({"bare": baseline, "ours": lambda: counted.events.emit(event)}, calls=2000)
    table.add("emit with Prometheus ÷ (emit + one inc)", found["ours"], ceiling=1.5)
    await scrape(table)


async def scrape(table: Table) -> None:
    """A scrape of an idle process, for each byte of its text; the client alone has as many metrics and children."""
    registry, plain = CollectorRegistry(), CollectorRegistry()
    exporter = telemetry.prometheus.install(runtime=pk.Runtime(), registry=registry)
    size = 0
    while size < len(exporter.text()):  # the same number of bytes, of counters without labels
        Counter(f"plain_{size}", "Plain.", registry=plain)
        size = len(generate_latest(plain))
    found = await ratios(
        {"client": lambda: generate_latest(plain), "ours": exporter.text}, calls=50, rounds=9
    )
    bytes_each = len(exporter.text())
    begun = time.process_time()
    for _ in range(200):
        exporter.text()
    spent = (time.process_time() - begun) / 200
    table.add("scrape of an idle process ÷ the client's own, per byte", found["ours"] * size / bytes_each)
    table.add("scrape of an idle process, bytes of its text", float(bytes_each), unit="B")
    table.add("scrape of an idle process, ns a byte", spent / bytes_each * 1e9, unit="ns")


async def main() -> Table:
    table = Table(
        "env_logs",
        "settings, log lines and counted events",
        packages=PACKAGES,
    )
    saved = dict(os.environ)
    try:
        await loads(table)
    finally:
        os.environ.clear()
        os.environ.update(saved)
    await lines(table)
    await nested(table)
    await counts(table)
    return table


if __name__ == "__main__":
    run(main)
