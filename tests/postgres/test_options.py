from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from prodkit import DatabaseError, InvalidError, env, postgres
from prodkit.postgres.health import verdict


def test_every_bad_option_is_in_one_error() -> None:
    with pytest.raises(
        ValueError, match=r"min_size=9.*max_size=3.*acquire_timeout.*0.*statement_cache_size.*-1"
    ):
        postgres.Pool(
            "postgresql://u:p@h/d", min_size=9, max_size=3, acquire_timeout=0, statement_cache_size=-1
        )


@pytest.mark.parametrize("parameter", ["dsn", "replicas"])
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("mysql://u:hunter2@h/d", "scheme must be postgresql://"),
        ("postgresql+asyncpg://u:hunter2@h/d", r"without a driver such as \+asyncpg"),
        ("localhost:5432", "must begin with postgresql://"),
        ("", "must begin with postgresql://"),
        ("postgresql://u:hunter2@h:99999/d", "port"),
        ("postgresql://u:hunter2#2@h/d", "percent-encoded"),
        ("postgresql://u:hunter2@h/d?sslmode=always", "sslmode must be one of"),
    ],
)
def test_an_address_of_something_else_is_refused_at_once(parameter: str, address: str, reason: str) -> None:
    options: dict[str, Any] = {"dsn": "postgresql://h/d", parameter: address}
    with pytest.raises(
        DatabaseError, match=f"{parameter}: the address .* cannot be used: .*{reason}"
    ) as caught:
        postgres.Pool(**options)
    assert isinstance(caught.value, InvalidError)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_address_stands_beside_the_other_problems() -> None:
    with pytest.raises(ValueError, match=r"max_size.*must begin with postgresql://"):
        postgres.Pool("h:5432", max_size=0)


def test_a_certificate_may_be_there_later_than_the_pool() -> None:
    postgres.Pool("postgresql://h/d?sslmode=verify-full&sslrootcert=/nowhere/ca.pem")


async def test_a_pool_that_is_not_started_says_so() -> None:
    db = postgres.Pool(env.PostgresUrl("postgresql://u:hunter2@h/d"))
    with pytest.raises(RuntimeError, match="not started"):
        await db.fetch("select 1")
    assert (await db.check()).status == "down"
    assert "hunter2" not in repr(db)
    assert (db.stats().min_size, db.stats().max_size) == (5, 20)
    await db.aclose()


def test_profiles() -> None:
    assert postgres.Profile.of("development") == postgres.DEVELOPMENT == postgres.Profile(5, 20)
    assert postgres.Profile.of("production") == postgres.PRODUCTION == postgres.Profile(10, 50)


def test_the_four_verdicts() -> None:
    def stats(**values: float) -> postgres.PoolStats:
        names = dict.fromkeys(postgres.PoolStats.__dataclass_fields__, 0) | {"max_size": 2}
        return postgres.PoolStats(**(names | values))  # type: ignore[arg-type]

    assert verdict("up", stats()).status == "up"
    assert verdict("up", stats(used=2)).details["verdict"] == "up"
    assert verdict("up", stats(used=2, waiting=1)).details["verdict"] == "saturated"
    assert verdict("read_only", stats()).status == "degraded"
    assert verdict("down", stats()).status == "down"


def test_importing_it_loads_no_asyncpg() -> None:
    code = "import sys, prodkit.postgres as p; p.Pool; p.advisory_lock; assert 'asyncpg' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ssl": 5}, "ssl must be an SSLContext"),
        ({"ssl": "sometimes"}, "ssl must be one of 'disable'"),
        ({"json": "x"}, "json must be True or False"),
        ({"replicas": 5}, "replicas must be an address"),
        ({"server_settings": 5}, "server_settings must be a mapping"),
        ({"server_settings": {"a": 5}}, r"server_settings\['a'\] must be a string"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"Pool: {words}"):
        postgres.Pool("postgresql://u:p@h/d", **options)
