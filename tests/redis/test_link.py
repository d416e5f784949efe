from __future__ import annotations

import math
from typing import Any

import pytest

from prodkit.errors import RedisError
from prodkit.redis import RedisLink
from prodkit.testing.loop import virtual_time


class Hidden:
    def reveal(self) -> str:
        return "redis://user:h%2Fidden@cache.example:6380/3"


@virtual_time
async def test_not_configured() -> None:
    link = RedisLink(None)
    assert (link.configured, link.up) == (False, False)
    async with link:
        assert (await link.check()).status == "up"
        with pytest.raises(RedisError, match="no Redis is configured"):
            await link.run(lambda client: client.ping())


def test_the_password_is_never_shown() -> None:
    link = RedisLink(Hidden())
    assert link.address == "redis://cache.example:6380/3"
    assert "hidden" not in repr(link)
    assert "user" not in repr(link)
    assert link.configured


def test_nor_by_what_lies_below() -> None:
    from prodkit.redis.address import Address
    from prodkit.redis.pool import open_client

    client = open_client(Address.parse("redis://user:s3cr3t@localhost:6379/0"), 1)
    assert "s3cr3t" not in repr(client) + repr(client.connection_pool)


@pytest.mark.parametrize(
    "url",
    [
        "http://:sesame@host/0",
        "redis://:ses#ame@host/0",
        "redis://:ses/ame@host/0",
        "redis://user:12/sesame@host:6379/0",
        "redis://:sesame@host:port/0",
        "redis://:sesame@host/zero",
        "redis://host?socket_timeout=sesame",
        "redis://:sesame@",
        "unix://",
        "sesame",
        "",
    ],
)
def test_a_bad_url_stops_the_start_and_is_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="Redis URL") as caught:
        RedisLink(url)
    shown = str(caught.value) + repr(
        caught.value.__context__ if not caught.value.__suppress_context__ else ""
    )
    assert "ses" not in shown.replace("necessary", "")
    assert "ame@" not in shown


@pytest.mark.parametrize("option", ["timeout", "connect_timeout", "queue_timeout"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_limits_are_checked(option: str, value: float) -> None:
    limits: dict[str, Any] = {option: value}
    with pytest.raises(ValueError, match=option):
        RedisLink("redis://localhost", **limits)


@virtual_time
async def test_a_coroutine_object_is_refused() -> None:
    async def work() -> None: ...

    link = RedisLink("redis://localhost")
    with pytest.raises(TypeError, match="pass the function"):
        await link.run(work())  # type: ignore[arg-type]


def test_importing_the_part_loads_no_third_party() -> None:
    import subprocess
    import sys

    code = "import sys, prodkit.redis.link, prodkit.redis.scripts; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
