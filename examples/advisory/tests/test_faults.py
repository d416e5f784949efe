"""The fault theatre: what it promises is kept, and nothing worse than a 503 is ever shown."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from types import SimpleNamespace

import httpx
import pytest

from advisory.demo.bad_minute import LENGTH, SCHEDULE
from advisory.demo.faults import STORM_SECONDS, Fault, faults_of
from advisory.demo.theatre import Theatre
from advisory.tests.test_commands import demo

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class Server:
    def __init__(self) -> None:
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **options: self.calls.append((name, args, options))


def embedded(**parts):
    servers = {"simulator": Server(), "postgres": Server(), "redis": Server()}
    networks = {"postgres": Server(), "model": Server()}
    return SimpleNamespace(**{**servers, "networks": networks, **parts})


def test_each_fault_says_what_to_watch_and_when_all_is_well():
    sources = SimpleNamespace(sources=(SimpleNamespace(name="youtube", storm=lambda *_: None),))
    faults = faults_of(embedded(sources=sources), ["a", "b"], kill_worker=lambda: None)
    assert list(faults) == ["storm", "storm-all", "postgres", "redis", "network", "worker", "source-youtube"]
    for fault in faults.values():
        assert fault.watch.endswith(".")
        assert fault.seconds < fault.back_within <= 60
    assert "redis" not in faults_of(embedded(redis=None), ["a"])
    assert {name for _, name, _ in SCHEDULE if not name.startswith("source-")} == set(faults) - {
        "source-youtube"
    }
    assert all(second + length < LENGTH for second, _, length in SCHEDULE)


def test_a_storm_is_a_duration_and_spares_no_request_of_its_model(simulator):
    def status() -> int:
        body = {
            "model": "claude-sonnet-5-5",
            "max_tokens": 10,
            "messages": [{"role": "user", "content": "oi"}],
        }
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        return httpx.post(f"{simulator.url}/v1/messages", json=body, headers=headers).status_code

    simulator.reset()
    faults = faults_of(embedded(simulator=simulator), ["claude-sonnet-5-5"])
    simulator.script(*["ok"] * 50)
    assert status() == 200
    faults["storm"].begin(2.0)
    assert [status() for _ in range(8)] == [529] * 8
    time.sleep(2.1)
    assert status() == 200
    assert 10 <= STORM_SECONDS <= 60


async def test_a_fault_begins_once_and_ends_by_itself_also_when_the_demo_leaves():
    log = []
    fault = Fault(
        name="x", label="X", watch=".", begin=lambda s: log.append(s), end=lambda: log.append("end"), seconds=0.2,
        back_within=1.0,
    )  # fmt: skip
    other = Fault(name="y", label="Y", watch=".", begin=broken, back_within=1.0)
    theatre = Theatre({"x": fault, "y": other}, lambda: 0, lead=0.0)

    async def until(what):
        async with asyncio.timeout(10):
            while not what():
                await asyncio.sleep(0.01)

    assert theatre.begin("x")
    assert not theatre.begin("x")
    assert theatre.begin("y")
    assert [stage.fault.name for stage in theatre.shown()] == ["x", "y"]
    await until(lambda: theatre.stages["y"].problem)
    await until(lambda: not theatre.active("x"))
    assert log == [0.2, "end"]
    assert theatre.begin("x", seconds=60)
    await until(lambda: len(log) == 3)
    await theatre.aclose()
    assert log == [0.2, "end", 60, "end"]


def broken(_seconds):
    raise OSError("no such server")


class Panel:
    """A visitor of the demo's fault panel."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, follow_redirects=True, timeout=20)
        self.http.get("/")
        self.odd: list[str] = []
        self.slowest = 0.0

    def look(self, path: str) -> httpx.Response:
        """A page, which is whole or says why not and when to come back."""
        began = time.monotonic()
        answer = self.http.get(path, headers={"accept": "text/html"})
        self.slowest = max(self.slowest, time.monotonic() - began)
        if answer.status_code == 503:
            if int(answer.headers.get("retry-after", 0)) < 1 or "Indisponível" not in answer.text:
                self.odd.append(f"{path}: 503 without a reason")
        elif answer.status_code != 200:
            self.odd.append(f"{path}: {answer.status_code}")
        return answer

    def press(self, path: str, **fields: str) -> httpx.Response:
        deadline = time.monotonic() + 20
        while not (token := re.search(r'name="csrf_token" value="([^"]+)"', self.look("/falhas").text)):
            assert time.monotonic() < deadline
            time.sleep(0.2)  # the database is being restarted
        return self.http.post(path, data={"csrf_token": token[1], **fields})

    def health(self) -> dict:
        return self.http.get("/api/health").json()

    def wait_for_workers(self) -> None:
        deadline = time.monotonic() + 150
        while self.health()["checks"]["workers"]["status"] != "up" or (
            self.http.get("/falhas/agora").text.count("processo de trabalho ") < 2
        ):
            assert time.monotonic() < deadline, self.health()
            time.sleep(0.3)

    def score(self) -> str:
        found = re.search(r"\d+ de \d+ conselhos terminaram[^<]+", self.look("/falhas/agora").text)
        return found[0] if found else ""


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    with demo(tmp_path_factory.mktemp("demo"), signal.SIGTERM) as url:
        found = Panel(url)
        try:
            found.wait_for_workers()
            yield found
        finally:
            found.http.close()


@pytest.mark.timeout(420)
def test_all_faults_at_once_and_everything_is_back_as_promised(panel):
    page = panel.look("/falhas").text
    names = re.findall(r'name="fault" value="([^"]+)"', page)
    promises = [int(each) for each in re.findall(r"volta em até (\d+) s", page)]
    assert len(names) == len(promises) >= 6
    assert panel.press("/falhas/conselho").status_code == 200
    began = time.monotonic()
    for name in names:
        done = panel.press("/falhas", fault=name)
        assert done.status_code == 503 or "Feito:" in done.text
    healthy = 0.0
    while time.monotonic() - began < max(promises):
        for path in ("/", "/historico", "/especialistas", "/falhas/agora", "/saude"):
            panel.look(path)
        if panel.health()["status"] != "up":
            healthy = 0.0
        elif not healthy:
            healthy = time.monotonic() - began
        time.sleep(0.5)
    assert panel.odd == []
    assert panel.slowest < 15
    assert 0 < healthy <= max(promises), panel.health()
    print(
        f"everything was back {healthy:.0f} s after all faults began; the slowest page took {panel.slowest:.1f} s"
    )
    path = panel.press("/conselhos", question="Tudo voltou a funcionar?", experts="1").url.path
    assert path.startswith("/conselhos/")
    deadline = time.monotonic() + 40
    while "Síntese pronta" not in panel.look(path).text:
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.timeout(420)
def test_sixty_bad_seconds_lose_nothing_and_repeat_nothing(panel):
    assert "60 segundos ruins: começou" in panel.press("/falhas/minuto").text
    assert "já estão correndo" in panel.press("/falhas/minuto").text
    deadline = time.monotonic() + LENGTH + 150
    while not (score := panel.score()):
        assert time.monotonic() < deadline, panel.look("/falhas/agora").text
        for path in ("/", "/historico", "/falhas"):
            panel.look(path)
        time.sleep(0.5)
    print(score)
    assert panel.odd == []
    assert score.startswith("10 de 10 conselhos terminaram")
    assert "Repetidos: 0. Perdidos: 0." in score
    paid, needed = map(int, re.findall(r"pagas: (\d+), para (\d+)", score)[0])
    kills = sum(name == "worker" for _, name, _ in SCHEDULE)
    assert needed <= paid <= needed + kills * 3 * 10


def test_the_console_stands_beside_and_shows_the_workers_too(panel):
    page = panel.look("/falhas")
    assert '<iframe class="console" src="/console"' in page.text
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    console = panel.http.get("/console")
    assert console.status_code == 200
    assert console.headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in console.headers["content-security-policy"]
    assert "claude-sonnet-5-5" in console.text  # calls are made by the workers
    stranger = httpx.get(panel.http.base_url.join("/console"), headers={"sec-fetch-site": "cross-site"})
    assert stranger.status_code == 404


def test_the_outbox_shows_mails_to_this_machine_only(panel):
    token = re.search(r'name="csrf_token" value="([^"]+)"', panel.http.get("/recuperar").text)[1]
    panel.http.post("/recuperar", data={"csrf_token": token, "email": "demo@conselho.example"})
    deadline = time.monotonic() + 15
    while "/recuperar/nova?codigo=" not in panel.look("/demo/caixa").text:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for headers in ({"host": "mau.exemplo"}, {"sec-fetch-site": "cross-site"}):
        assert httpx.get(panel.http.base_url.join("/demo/caixa"), headers=headers).status_code == 404


def test_outside_of_the_demo_none_of_it_exists(ana):
    for path in ("/falhas", "/falhas/agora", "/console", "/demo/caixa", "/demo/falhas"):
        assert ana.get(path).status_code == 404, path
    assert ana.post("/falhas/minuto").status_code == 404
