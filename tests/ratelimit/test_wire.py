from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prodkit.ratelimit import (
    LOGIN,
    LOGIN_IP,
    Limit,
    RateLimiter,
    account_key,
    client_ip,
    headers,
    message,
    problem,
    status,
)
from prodkit.ratelimit.messages import duration
from prodkit.testing.loop import virtual_time


@virtual_time
async def test_fields() -> None:
    limiter = RateLimiter()
    daily = Limit("100/day", name="daily")
    allowed = await limiter.check((LOGIN, "a"), (daily, "a"))
    assert status(allowed) == 200
    assert headers(allowed) == {
        "RateLimit-Policy": '"login";q=5;w=900, "daily";q=100;w=86400',
        "RateLimit": '"login";r=4;t=900, "daily";r=99;t=86400',
    }
    for _ in range(4):
        await limiter.check((LOGIN, "a"), (daily, "a"))
    await asyncio.sleep(180.5)
    refused = await limiter.check((LOGIN, "a"), (daily, "a"))
    assert status(refused) == 429
    assert headers(refused)["Retry-After"] == "720"
    assert headers(refused)["RateLimit"].startswith('"login";r=0;t=720')
    assert message(refused, "pt-BR") == "Muitas tentativas de login. Tente novamente em 12 minutos."
    assert message(refused, "en") == "Too many login attempts. Try again in 12 minutes."
    body = problem(refused)
    assert body["status"] == 429
    assert body["violated-policies"] == ["login"]


@virtual_time
async def test_a_limit_without_words_of_its_own() -> None:
    limiter = RateLimiter()
    plain = Limit("1/12 min", name="other")
    own = Limit("1/min", name="mine", texts={"pt-BR": "Devagar!"})
    await limiter.check((plain, "a"))
    await limiter.check((own, "a"))
    assert message(await limiter.check((plain, "a"))) == "Too many attempts. Try again in 12 minutes."
    assert message(await limiter.check((own, "a")), "pt-BR") == "Devagar! Tente novamente em 1 minuto."
    assert message(await limiter.check((own, "a")), "en") == "Too many attempts. Try again in 1 minute."


@pytest.mark.parametrize(
    ("seconds", "pt", "en"),
    [
        (0.2, "1 segundo", "1 second"),
        (1, "1 segundo", "1 second"),
        (59, "59 segundos", "59 seconds"),
        (59.2, "1 minuto", "1 minute"),
        (61, "2 minutos", "2 minutes"),
        (3540, "59 minutos", "59 minutes"),
        (3541, "1 hora", "1 hour"),
        (3600.5, "2 horas", "2 hours"),
        (86400, "24 horas", "24 hours"),
        (86400 * 2 + 1, "3 dias", "3 days"),
    ],
)
def test_durations_are_rounded_up(seconds: float, pt: str, en: str) -> None:
    assert (duration(seconds, "pt-BR"), duration(seconds, "en")) == (pt, en)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "found"),
    [
        ("203.0.113.9", [], [], "203.0.113.9"),
        ("203.0.113.9", ["1.1.1.1"], [], "203.0.113.9"),  # no proxy is trusted
        ("10.0.0.2", ["1.1.1.1, 203.0.113.9"], ["10.0.0.0/8"], "203.0.113.9"),  # the spoofed part is ignored
        ("10.0.0.2", ["1.1.1.1", "203.0.113.9"], ["10.0.0.0/8"], "203.0.113.9"),  # two fields are one list
        ("10.0.0.2", ["203.0.113.9, 10.0.0.7"], ["10.0.0.0/8"], "203.0.113.9"),
        ("10.0.0.2", ["10.0.0.7"], ["10.0.0.0/8"], "10.0.0.7"),
        ("10.0.0.2", ["garbage"], ["10.0.0.0/8"], "10.0.0.2"),
        ("10.0.0.2", ["9.9.9.9, garbage"], ["10.0.0.0/8"], "10.0.0.2"),
        ("10.0.0.2", ["203.0.113.9:4711"], ["10.0.0.2"], "203.0.113.9"),
        ("10.0.0.2", ['"[2001:db8:1:2:3::9]:4711"'], ["10.0.0.2"], "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", [], [], "203.0.113.9"),
        ("::ffff:10.0.0.2", ["203.0.113.9"], ["10.0.0.0/8"], "203.0.113.9"),
        ("2001:db8:1:2:aaaa::1", [], [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], [], "fe80::/64"),
        (None, ["1.1.1.1"], ["10.0.0.0/8"], None),
        ("/run/app.sock", ["1.1.1.1"], ["10.0.0.0/8"], None),
    ],
)
def test_client_ip(peer: Any, forwarded: list[str], trusted: list[str], found: Any) -> None:
    assert client_ip(peer, forwarded, trusted_proxies=trusted) == found


def test_spellings_of_an_account_are_one() -> None:
    assert account_key(" Ana@Example.com ") == account_key("ana@example.COM")
    assert LOGIN.name != LOGIN_IP.name
