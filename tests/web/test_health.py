from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from prodkit import CheckResult, Health, web

TOKEN = "made-up-health-token"


class Part:
    def __init__(self, name: str, status: str = "up") -> None:
        self.name = name
        self.status: Any = status
        self.looks = 0

    async def check(self) -> CheckResult:
        self.looks += 1
        return CheckResult(self.status, "connection refused by db.internal", {"size": 20})


def client(*parts: Part, host: str = "203.0.113.9", **options: Any) -> TestClient:
    app = Starlette(routes=web.health_routes(Health(*parts), **options))
    return TestClient(app, client=(host, 50_000))


@pytest.mark.parametrize(("status", "code"), [("up", 200), ("degraded", 200), ("down", 503)])
def test_the_verdict_is_the_status(status: str, code: int) -> None:
    response = client(Part("db", status)).get("/api/health")
    assert response.status_code == code
    assert response.json() == {"status": status, "checks": {"db": {"status": status}}}
    assert response.headers["cache-control"] == "no-store"


def test_reasons_and_numbers_need_the_token() -> None:
    found = client(Part("db", "degraded"), token=TOKEN)
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": "Bearer \xff"},
    ):
        raw = {key: value.encode("latin-1") for key, value in headers.items()}
        assert "db.internal" not in found.get("/api/health", headers=raw).text
    response = found.get("/api/health", headers={"authorization": f"Bearer {TOKEN}"})
    assert response.json()["checks"]["db"]["details"] == {"size": 20}


def test_loopback_is_trusted_when_asked_for_and_only_without_a_proxy() -> None:
    assert "db.internal" not in client(Part("db"), host="127.0.0.1").get("/api/health").text
    near = client(Part("db"), host="127.0.0.1", loopback=True)
    assert "db.internal" in near.get("/api/health").text
    assert "db.internal" not in near.get("/api/health", headers={"x-forwarded-for": "203.0.113.9"}).text
    assert "db.internal" not in client(Part("db"), loopback=True).get("/api/health").text
    assert "db.internal" not in client(Part("db"), loopback=True, host="testclient").get("/api/health").text


def test_liveness_calls_no_check() -> None:
    part = Part("db", "down")
    found = client(part)
    assert found.get("/api/health/live").status_code == 200
    assert part.looks == 0
    assert found.get("/api/health/ready").status_code == 503


def test_a_draining_process_wants_no_traffic() -> None:
    drain = web.Drain()
    found = client(Part("db"), drain=drain)
    assert found.get("/api/health/ready").json() == {"status": "up"}
    drain.begin()
    assert found.get("/api/health/ready").status_code == 503
    assert found.get("/api/health/live").status_code == 200
    assert found.get("/api/health").status_code == 200


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="path must begin"):
        web.health_routes(Health(), path="health")
    with pytest.raises(ValueError, match="at least 16") as caught:
        web.health_routes(Health(), token="made-up")
    assert "made-up" not in str(caught.value)
