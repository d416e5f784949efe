"""A pytest plugin: fixtures for real servers, the Messages API and a reproducible runtime.

Installed with prodkit, pytest finds it by itself; otherwise ``pytest_plugins = ["prodkit.testing.plugin"]``
in the root conftest.py, or ``-p prodkit.testing.plugin``. It only defines fixtures; what they need is
imported when a test asks for one.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from prodkit.core.runtime import Runtime
    from prodkit.testing.events import EventLog
    from prodkit.testing.servers import Postgres, Redis

_SEED = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL for the whole run; skips where its programs are not installed."""
    from prodkit.testing.servers import Postgres

    if not Postgres.available():
        pytest.skip("PostgreSQL is not installed: pip install 'prodkit-resilience[testing]'")
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    name = f"test_{secrets.token_hex(6)}"
    url = postgres_server.start().create_database(name)
    yield url
    postgres_server.start().drop_database(name)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis for the whole run; skips where no Redis is installed."""
    from prodkit.testing.servers import Redis

    if not Redis.available():
        pytest.skip(
            "Redis is not installed: redis-server, valkey-server, or the wheels of prodkit-resilience[testing]"
        )
    with Redis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of a Redis without keys."""
    redis_server.start().flush()
    return redis_server.url


@pytest.fixture
def anthropic_simulator() -> Iterator[Any]:
    """A Messages API of this test's own, on loopback: give its ``.url`` as ``base_url``."""
    from prodkit.testing.anthropic import Simulator

    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """A Runtime of this test's own. Its seed is printed when the test fails; `--prodkit-seed` sets it."""
    from prodkit.core.runtime import Runtime

    chosen: int | None = request.config.getoption("--prodkit-seed", None)
    seed = secrets.randbits(32) if chosen is None else chosen
    request.node.stash[_SEED] = seed
    return Runtime(rng=random.Random(seed))


@pytest.fixture
def event_log(runtime: Runtime) -> Iterator[EventLog]:
    """Every event that parts with this test's `runtime` emit."""
    from prodkit.testing.events import EventLog

    with EventLog(runtime.events) as log:
        yield log


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("prodkit").addoption(
        "--prodkit-seed", type=int, default=None, metavar="N", help="the seed of the `runtime` fixture"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    seed = item.stash.get(_SEED, None)
    if seed is not None and report.failed:
        report.sections.append(("prodkit", f"runtime seed {seed}: repeat with --prodkit-seed={seed}"))
    return report


@pytest.fixture
def policies_off() -> Iterator[None]:
    """Retries, breakers, gates and queues are off for this test: one attempt, no waits, no open circuits."""
    from prodkit.policies.switch import off

    with off():
        yield
