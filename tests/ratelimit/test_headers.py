"""A decision in HTTP: status, fields, problem document."""

from __future__ import annotations

from prodkit.ratelimit import Decision, Limit, headers, problem, status
from prodkit.ratelimit.decision import Source

HOUR = Limit("10/hour", name="hour")
DAY = Limit("50/day", name="day")
TRIAL = Limit("1/hour", name="trial", shadow=True)


def decision(*pairs: tuple[Limit, tuple[int, int, int, int]], source: Source = "memory") -> Decision:
    return Decision([limit for limit, _ in pairs], [outlook for _, outlook in pairs], source, 1, ())


ADMITTED = decision((DAY, (30, 0, 60_000_000, 80_000_000)), (HOUR, (4, 0, 5_000_001, 9_000_000)))
REFUSED = decision((DAY, (3, 0, 1, 80_000_000)), (HOUR, (0, 1_000_001, 1_000_001, 9_000_000)))
AWAY = decision((HOUR, (0, 5_000_000, 5_000_000, 5_000_000)), source="outage")


def test_status() -> None:
    assert [status(each) for each in (ADMITTED, REFUSED, AWAY)] == [200, 429, 503]


def test_the_tightest_limit_stands_first_and_seconds_are_rounded_up() -> None:
    fields = headers(ADMITTED)
    assert fields == {
        "RateLimit-Policy": '"day";q=50;w=86400, "hour";q=10;w=3600',
        "RateLimit": '"hour";r=4;t=6, "day";r=30;t=60',
    }


def test_a_refusal_has_retry_after() -> None:
    fields = headers(REFUSED)
    assert fields["Retry-After"] == "2"
    assert fields["RateLimit"].startswith('"hour";r=0;t=2')


def test_a_wait_of_a_moment_is_one_second() -> None:
    assert headers(decision((HOUR, (0, 1, 1, 1))))["Retry-After"] == "1"


def test_an_unused_limit_has_no_time() -> None:
    assert headers(decision((HOUR, (10, 0, 0, 0))))["RateLimit"] == '"hour";r=10'


def test_legacy_fields_are_those_of_the_tightest_limit() -> None:
    fields = headers(ADMITTED, legacy=True)
    assert {name: text for name, text in fields.items() if name.startswith("X-")} == {
        "X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "9",
    }  # fmt: skip
    assert headers(REFUSED, legacy=True)["X-RateLimit-Reset"] == "2"  # a refused client waits no longer


def test_limits_on_trial_are_not_shown() -> None:
    assert headers(decision((TRIAL, (0, 9, 9, 9)))) == {}
    assert "trial" not in str(headers(decision((TRIAL, (0, 9, 9, 9)), (HOUR, (4, 0, 0, 0)))))


def test_without_redis_no_quota_is_claimed() -> None:
    fields = headers(AWAY, legacy=True)
    assert fields == {"RateLimit-Policy": '"hour";q=10;w=3600', "Retry-After": "5"}


def test_the_body_of_a_refusal() -> None:
    assert problem(REFUSED) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too many attempts.",
        "status": 429,
        "detail": "Too many attempts. Try again in 2 seconds.",
        "code": "rate_limited",
        "retry_after": 2,
        "limit": "hour",
        "violated-policies": ["hour"],
    }


def test_the_body_of_an_outage_blames_no_caller() -> None:
    body = problem(AWAY, "pt-BR")
    assert (body["status"], body["code"], body["type"]) == (503, "unavailable", "about:blank")
    assert body["title"] == "Serviço temporariamente indisponível."
    assert not {"limit", "violated-policies"} & body.keys()
