from __future__ import annotations

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args

from prodkit import env
from prodkit.errors import InvalidError


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("postgresql+asyncpg://u:p@h/db", "url_scheme"),
        ("mysql://u:p@h/db", "url_scheme"),
        ("u:p@h/db", "url_scheme"),
        ("postgres://u:p@ss@h/db", "url_at"),
        ("postgres://u:p/w@h/db", "url_at"),
        ("postgres://u:p?w@h/db", "url_at"),
        ("postgres://u:p#w@h/db", "url_hash"),
        ("postgres://u:p%w@h/db", "url_escape"),
        ("postgres://u:p@h/db ", "url_blank_inside"),
        ("postgres://u:p@h/db\n", "url_blank_inside"),
        ("postgresql://h", "url_user"),
        ("postgresql://u:p@/db", "url_host"),
        ("postgresql://u:p@h", "url_database"),
        ("postgresql://u:p@h/", "url_database"),
        ("postgresql://u:p@h:0/db", "url_port"),
        ("postgresql://u:p@h:x/db", "url_port"),
        ("postgresql://u:p@[::1/db", "url_malformed"),
        ("postgresql://u:p@h/db?sslmode=on", "url_sslmode"),
        ("postgresql://u:p@h/db?sslmode", "url_malformed"),
        ("", "blank"),
    ],
)
def test_what_the_driver_refuses_or_misreads_is_refused(url: str, rule: str) -> None:
    with pytest.raises(InvalidError, match=rule):
        env.PostgresUrl(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h/db",
        "postgres://u:p%40ss%23@h:5433/db",
        "postgresql://u@h/db",
        "postgresql://u:p:w@h/db?sslmode=require&application_name=x",
        "postgresql://u:p@[::1]:5432/db",
        "postgresql://u:p@h1:1,h2:2/db",
        "postgresql://u:p@/db?host=/run/pg",
        "postgresql:///db?host=/run/pg&user=u&password=x",
        "postgresql://u:p@%2Frun%2Fpg/db",
    ],
)
def test_it_reads_what_asyncpg_reads(url: str) -> None:
    mine = env.PostgresUrl(url)
    addresses, theirs = _parse_connect_dsn_and_args(
        dsn=url, host=None, port=None, user=None, password=None, passfile=None, database=None, ssl=None,
        service=None, servicefile=None, direct_tls=None, server_settings=None, target_session_attrs=None,
        krbsrvname=None, gsslib=None,
    )[:2]  # fmt: skip
    first = addresses[0]
    if isinstance(first, tuple):
        assert (mine.host, mine.port) == first
    else:
        assert first == f"{mine.host}/.s.PGSQL.{mine.port}"
    assert mine.user == theirs.user
    assert mine.database == theirs.database
    if theirs.password:
        assert theirs.password in mine.secret_values()
        assert (
            theirs.password not in str(mine).removeprefix("postgresql").replace("%2Fpg", "")
            or len(theirs.password) == 1
        )


def test_redis() -> None:
    url = env.RedisUrl("rediss://user:hunter2@h:6380/3")
    assert (url.host, url.port, url.database) == ("h", 6380, "3")
    assert str(url) == "rediss://user:***@h:6380/3"
    assert str(env.RedisUrl("redis://h")) == "redis://h"
    assert env.RedisUrl("unix:///run/redis.sock?db=2").reveal() == "unix:///run/redis.sock?db=2"
    for text, rule in (
        ("redis://h/first", "url_redis_database"),
        ("redis://", "url_host"),
        ("http://h", "url_scheme"),
    ):
        with pytest.raises(InvalidError, match=rule):
            env.RedisUrl(text)


def test_secret_parameters_are_masked() -> None:
    assert "hunter2" not in str(env.PostgresUrl("postgresql:///db?host=h&user=u&password=hunter2"))
