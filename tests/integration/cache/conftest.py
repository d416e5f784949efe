"""A proxy in front of the real Redis, to play outages with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prodkit.testing.proxy import Proxy


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
def proxied_url(proxy: Proxy, redis_url: str) -> str:
    return proxy.url_for(redis_url)
