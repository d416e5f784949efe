"""The operators' page: what it shows, to whom, and how it follows events."""

import asyncio
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from prodkit.core.check import CheckResult
from prodkit.core.recording import Recorded
from prodkit.core.runtime import Runtime
from prodkit.health import Health
from prodkit.policies.breaker import CircuitBreaker
from prodkit.policies.events import BreakerOpened
from prodkit.ratelimit.events import RateLimitDenied
from prodkit.testing import virtual_time
from prodkit.web import Console, Drain, install
from prodkit.web.console_records import Records, unrolled
from prodkit.web.console_view import render

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
HOSTILE = "</title><script>alert(1)</script>\"'&"


def record(at: float, event: str, level: str = "DEBUG", **fields: Any) -> Recorded:
    return Recorded(at, NOW + timedelta(seconds=at), event, level, fields)


def opened(name: str) -> BreakerOpened:
    return BreakerOpened(breaker=name, before="closed", after="open", reason="failures", hold=30.0)


def operator(request: Request) -> bool:
    return request.headers.get("x-role") == "operator"


def client(app: ASGIApp) -> TestClient:
    return TestClient(app, headers={"x-role": "operator"}, follow_redirects=False)


def view(*records: Recorded, seconds: float = 900, limit: int = 20_000) -> str:
    kept = Records(seconds, limit)
    for each in records:
        kept.add(each)
    return render(kept.window(records[-1].at))


def pictures(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", html)]


def row(html: str, first: str) -> list[str]:
    """The cells of the last table row that begins with `first`."""
    rows = [re.findall(r"<td.*?>(.*?)</td>", each) for each in re.findall(r"<tr>(.*?)</tr>", html)]
    return [[re.sub("<.*?>", "", cell) for cell in each] for each in rows if each and each[0] == first][-1]


# --- access -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mounted", [True, False])
def test_others_get_the_answer_of_an_unknown_path(mounted: bool) -> None:
    console = Console(Runtime(), allow=operator, path="/ops")
    app = Starlette(routes=[Mount("/ops", console)] if mounted else console.routes())
    stranger = TestClient(app, follow_redirects=False)
    unknown = stranger.get("/nothing")
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        for name in ("/", "/fragment", "/changes", "/console.css", "/console.js", "/other"):
            path = "/ops" if name == "/" and not mounted else f"/ops{name}"
            found = stranger.request(method, path)
            assert found.status_code == 404
            assert found.headers == stranger.request(method, "/nothing").headers
            assert found.text == ("" if method == "HEAD" else unknown.text)
    if not mounted:  # a redirect would tell that there is something
        for path in ("/ops", "/ops/", "/ops/fragment/", "/ops/console.js/", "/ops/a/b"):
            assert stranger.get(path).status_code == 404
        assert client(app).get("/ops/").status_code == 200
    inside = client(app)
    assert inside.get("/ops/" if mounted else "/ops").status_code == 200
    assert inside.get("/ops/fragment").status_code == 200
    assert inside.get("/ops/other").status_code == 404
    assert inside.post("/ops/fragment").status_code == 405


def test_without_an_app_around_it_others_get_a_404_too() -> None:
    assert TestClient(Console(Runtime(), allow=operator)).get("/").status_code == 404


def test_allow_may_be_a_coroutine_function() -> None:
    async def allow(request: Request) -> bool:
        await asyncio.sleep(0)
        return operator(request)

    app = Starlette(routes=Console(Runtime(), allow=allow).routes())
    assert client(app).get("/console").status_code == 200
    assert TestClient(app).get("/console").status_code == 404


def test_wrong_arguments_are_reported_at_once() -> None:
    with pytest.raises(ValueError, match=r"minutes(.|\n)*path|path(.|\n)*minutes"):
        Console(Runtime(), allow=operator, minutes=0, path="console/")


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_page_loads_nothing_but_its_own_files_under_a_strict_policy() -> None:
    app = Starlette(routes=[Mount("/ops", Console(Runtime(), allow=operator))])
    found = client(app).get("/ops/")
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert found.headers["cache-control"] == "no-store"
    assert re.findall(r'(?:src|href)="(.*?)"', found.text) == ["/ops/console.css", "/ops/console.js"]
    assert not re.search(r'<style|style="|<script>| on\w+=|http://(?!www\.w3\.org)|https://', found.text)
    assert '<noscript><meta http-equiv="refresh"' in found.text
    style = client(app).get("/ops/console.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "prefers-color-scheme:dark" in style.text
    assert client(app).get("/ops/console.js").headers["content-type"].startswith("text/javascript")


def test_its_policy_stays_behind_the_security_headers_of_install() -> None:
    app = Starlette(routes=Console(Runtime(), allow=operator).routes())
    install(app)
    assert "default-src 'none'" in client(app).get("/console").headers["content-security-policy"]


def test_events_of_the_runtime_appear_and_stop_with_close() -> None:
    runtime = Runtime()
    console = Console(runtime, allow=operator)
    runtime.events.emit(opened("payments"))
    runtime.events.emit(RateLimitDenied(limit="login", retry_after=3.0, source="memory", shadow=False))
    page = client(console).get("/").text
    assert row(page, "payments")[1:3] == ["open", "1"]
    assert row(page, "login") == ["login", "1", "0", "0"]
    console.close()
    console.close()
    assert not runtime.events.listened(RateLimitDenied) or logging.getLogger("prodkit").isEnabledFor(
        logging.INFO
    )


def test_the_standard_loggers_lines_stay(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()
    Console(runtime, allow=operator)
    with caplog.at_level(logging.WARNING, "prodkit"):
        runtime.events.emit(opened("payments"))
    assert "breaker.opened" in caplog.text


def test_the_health_report_is_shown_and_escaped() -> None:
    class Database:
        name = "database"

        async def check(self) -> CheckResult:
            return CheckResult("down", reason=HOSTILE)

    page = client(Console(Runtime(), Health(Database()), allow=operator)).get("/").text
    assert row(page, "database")[1] == "down"
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_hostile_names_and_values_are_text() -> None:
    events = [
        "breaker.opened",
        "breaker.rejected",
        "pool.acquired",
        "pool.exhausted",
        "bulkhead.rejected",
        "gate.closed",
        "limit.changed",
        "ratelimit.denied",
        "cache.hit",
        "llm.attempt",
        "llm.finished",
        "retry.scheduled",
        "jobs.finished",
        "gate.passed",
    ]
    names = [
        "breaker",
        "pool",
        "bulkhead",
        "gate",
        "limiter",
        "limit",
        "cache",
        "model",
        "requested_model",
        "kind",
        "reason",
        "tier",
        "call",
    ]
    fields: dict[str, Any] = dict.fromkeys(names, HOSTILE) | {"after": HOSTILE, "before": HOSTILE}
    fields |= {"duration": 1.0, "waited": 1.0, "seconds": 2.0, HOSTILE: HOSTILE}
    html = view(*(record(at, event, HOSTILE, **fields) for at, event in enumerate(events)))
    html += view(*(record(at, f"{event}{HOSTILE}", "ERROR", **fields) for at, event in enumerate(events)))
    assert "<script" not in html
    assert not re.search(r"<[^>]*alert", html)
    assert pictures(html)  # well formed


@pytest.mark.parametrize("value", [None, True, "x", [], {}, {"a": [1]}, 10**400, -1, 1e308])
def test_fields_of_any_type_are_survived(value: Any) -> None:
    names = [
        "breaker",
        "after",
        "before",
        "state",
        "pool",
        "waited",
        "bulkhead",
        "reason",
        "gate",
        "seconds",
        "limiter",
        "limit",
        "cache",
        "tier",
        "stale",
        "model",
        "attempt",
        "duration",
        "requested_model",
        "cost",
        "outcome",
        "shadow",
        "held",
        "inflight",
        "waiting",
    ]
    fields = dict.fromkeys(names, value)
    events = [
        "breaker.opened",
        "breaker.rejected",
        "pool.acquired",
        "pool.released",
        "bulkhead.rejected",
        "gate.closed",
        "gate.passed",
        "limit.changed",
        "ratelimit.denied",
        "cache.hit",
        "cache.loaded",
        "llm.attempt",
        "llm.finished",
    ]
    assert view(*(record(at, event, "WARNING", **fields) for at, event in enumerate(events)))


def test_numbers_of_each_section() -> None:
    usage = {"input_tokens": 1200, "output_tokens": 34}
    html = view(
        record(0, "cache.hit", cache="c", tier="memory", stale=False),
        record(1, "cache.hit", cache="c", tier="redis", stale=True),
        record(2, "cache.hit", cache="c", tier="memory", stale=False),
        record(3, "cache.missed", cache="c"),
        record(4, "pool.acquired", pool="main", waited=0.25),
        record(5, "pool.exhausted", "WARNING", pool="main", waited=1.0, size=5, waiting=3),
        record(6, "bulkhead.rejected", "WARNING", bulkhead="b", reason="full", inflight=4, waiting=2),
        record(7, "ratelimit.denied", "INFO", limit="login", shadow=True),
        record(8, "llm.attempt", "INFO", model="m", outcome="ok", attempt={"usage": usage, "cost": 0.5}),
        record(9, "llm.attempt", "INFO", model="m", outcome="overloaded", attempt={"cost": None}),
        record(10, "llm.finished", "INFO", requested_model="m", outcome="ok", cost=0.5, duration=2.0),
        record(11, "gate.closed", "WARNING", gate="g", seconds=5.0),
        record(12, "limit.changed", "INFO", limiter="l", limit=20),
    )
    assert row(html, "c") == ["c", "75.0 %", "2", "1", "1", "1", "0"]
    assert row(html, "main") == ["main", "1", "250.0 ms", "250.0 ms", "250.0 ms", "1", "0", "0"]
    assert row(html, "b") == ["b", "full: 1", "4", "2"]
    assert row(html, "login") == ["login", "0", "1", "0"]
    assert row(html, "m") == ["m", "2", "1", "1200", "34", "$0.5000"]
    assert row(html, "llm m") == ["llm m", "1", "2.00 s", "2.00 s", "2.00 s"]
    assert "The last 3 of 3" in html
    titles = {picture.findtext("{*}title") for picture in pictures(html)}
    assert {"Calls", "Waits for a connection", "Rejections and closed gates", "Denials"} <= titles


def test_a_breakers_bands_follow_its_states() -> None:
    html = view(
        record(100, "breaker.opened", "WARNING", breaker="b", before="closed", after="open"),
        record(130, "breaker.half_opened", "INFO", breaker="b", before="open", after="half_open"),
        record(131, "breaker.closed", "INFO", breaker="b", before="half_open", after="closed"),
        record(200, "breaker.rejected", breaker="b", state="closed", shadow=False),
    )
    bands = [each.findtext("{*}title") for each in pictures(html)[0].findall("{*}rect")]
    assert bands == ["b: closed", "b: open", "b: half_open", "b: closed"]
    assert row(html, "b") == ["b", "closed", "1", "1"]


def test_a_breaker_that_opened_before_the_window_is_shown_open() -> None:
    html = view(
        record(0, "breaker.isolated", "WARNING", breaker="b", before="closed", after="isolated"),
        record(2000, "cache.missed", cache="c"),
    )
    assert row(html, "b")[1] == "isolated"


# --- memory -------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_normal_work_does_not_push_warnings_out() -> None:
    records = Records(900, 100)
    records.add(record(0, "breaker.opened", "WARNING", breaker="b", after="open"))
    for number in range(1000):
        records.add(record(1 + number / 1000, "cache.missed", cache="c"))
    assert len(records) == 101
    html = render(records.window(2.0))
    assert row(html, "b")[1] == "open"
    assert "memory is full" in html
    records.window(10_000)
    assert len(records) == 0


@virtual_time
async def test_old_events_leave_the_page() -> None:
    runtime = Runtime()
    console = Console(runtime, allow=operator, minutes=1)
    runtime.events.emit(opened("payments"))
    await asyncio.sleep(50)
    assert "breaker.opened" in await console._fragment()
    await asyncio.sleep(50)
    html = await console._fragment()
    assert "breaker.opened" not in html
    assert row(html, "payments")[1] == "open"


# --- replay -------------------------------------------------------------------------------------------------------


def test_a_recording_ends_now_and_survives_a_restart_of_the_clock() -> None:
    console = Console(Runtime(), allow=operator)
    before = Recorded(9000.0, NOW, "retry.gave_up", "WARNING", {"call": "before"})
    after = Recorded(5.0, NOW + timedelta(seconds=60), "retry.gave_up", "WARNING", {"call": "after"})
    assert [each.at for each in unrolled([before, after])] == [0, 60]
    console.replay([before, after])
    page = client(console).get("/").text
    assert "call=before" in page
    assert "call=after" in page
    console.replay([])


def test_a_recording_longer_than_the_window_loses_its_beginning() -> None:
    console = Console(Runtime(), allow=operator, minutes=1)
    console.replay([record(at, "retry.gave_up", "WARNING", call=f"<{at}>") for at in (0, 100, 150)])
    page = client(console).get("/").text
    assert "call=&lt;0&gt;" not in page
    assert "call=&lt;100&gt;" in page


# --- live ---------------------------------------------------------------------------------------------------------


class Viewer:
    """An open event stream of the console, on virtual time."""

    def __init__(self, drain: Drain | None = None) -> None:
        headers = [(b"x-role", b"operator")]
        self.scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/changes", "headers": headers}
        self.scope |= {"query_string": b"", "prodkit.drain": drain}
        self.text = ""
        self.ended = False

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Any) -> None:
        self.text += message.get("body", b"").decode()
        self.ended = message["type"] == "http.response.body" and not message["more_body"]


@virtual_time
async def test_viewers_are_notified_at_most_once_a_second_until_the_drain() -> None:
    runtime = Runtime()
    console = Console(runtime, allow=operator)
    drain = Drain(runtime=Runtime())
    viewer = Viewer(drain)
    stream = asyncio.create_task(console(viewer.scope, viewer.receive, viewer.send))
    await asyncio.sleep(0.5)
    assert viewer.text.count("event: changed") == 1  # at once, so that a reconnected page is current
    for _ in range(50):
        runtime.events.emit(opened("payments"))
        await asyncio.sleep(0.1)
    assert 5 <= viewer.text.count("event: changed") <= 6
    quiet = viewer.text.count("event: changed")
    await asyncio.sleep(5)
    assert viewer.text.count("event: changed") <= quiet + 1
    drain.begin()
    await asyncio.wait_for(stream, 5)
    assert viewer.ended
    assert "draining" in viewer.text


async def test_a_real_breaker_is_followed() -> None:
    runtime = Runtime()
    console = Console(runtime, allow=operator)
    breaker = CircuitBreaker("payments", failures=1, runtime=runtime)

    async def fail() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await breaker.run(fail)
    assert row(await console._fragment(), "payments")[1] == "open"


@pytest.mark.parametrize(
    ("embed", "ancestors", "frames"), [(False, "'none'", None), (True, "'self'", "SAMEORIGIN")]
)
def test_only_an_embedded_console_may_stand_in_a_frame_of_its_own_origin(embed, ancestors, frames):
    console = Console(Runtime(), allow=operator, embed=embed)
    app = client(Starlette(routes=console.routes()))
    for path in ("/console", "/console/fragment", "/console/console.css"):
        headers = app.get(path).headers
        assert f"frame-ancestors {ancestors}" in headers["content-security-policy"]
        assert headers.get("x-frame-options") == frames
    console.close()
