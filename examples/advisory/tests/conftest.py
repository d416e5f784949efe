"""The app on real PostgreSQL, Redis and uvicorn, with a simulated model; and visitors who use it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

import advisory
import prodkit
from advisory.main import create_app
from advisory.migrations.apply import migrate
from advisory.serve import bound_socket, make_server
from advisory.services import Services
from advisory.settings import Settings
from advisory.store.seeds import seed_experts
from advisory.tests.browsing import chromium
from advisory.tests.stored import db, store_url, world  # noqa: F401 - fixtures
from prodkit import env
from prodkit.testing import sources
from prodkit.testing.anthropic import Simulator

pytest_plugins = [] if "prodkit.testing.plugin" in sys.modules else ["prodkit.testing.plugin"]

PATHS = os.pathsep.join(str(Path(each.__file__).parent.parent) for each in (advisory, prodkit))
PASSWORD = "uma frase bem comprida"
_numbers = itertools.count(1)


class Running:
    """The app in a thread of its own, as uvicorn serves it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listener = bound_socket("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.services: Services | None = None
        self.server: uvicorn.Server | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="app", daemon=True)

    def start(self) -> Running:
        self._thread.start()
        for _ in range(400):
            if self.error is not None:
                raise self.error
            if self.server is not None and self.server.started:
                return self
            threading.Event().wait(0.05)
        raise TimeoutError("the app did not start within 20 s")

    def stop(self) -> None:
        if self.server is not None:
            self.server.should_exit = True
        self._thread.join(15)
        self.listener.close()
        assert not self._thread.is_alive(), "the app did not stop within 15 s"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self.error = error

    async def _serve(self) -> None:
        await migrate(self.settings.database_url)
        self.services = Services.of(self.settings)
        # An answer after 0.25 s would count twice at the limits: not what these tests are about.
        self.services.redis.timeout = self.services.redis.connect_timeout = 10.0
        async with self.services.db:
            await seed_experts(self.services.experts)
        self.server = make_server(create_app(self.services), self.settings)
        await self.server.serve(sockets=[self.listener])


class Visitor:
    """A browser without a screen: cookies, forms with their tokens, an address of its own."""

    def __init__(self, url: str) -> None:
        n = next(_numbers)
        self.email = f"pessoa{n}@exemplo.com.br"
        self.http = httpx.Client(
            base_url=url,
            timeout=20,
            headers={"accept": "text/html", "x-forwarded-for": f"10.0.{n // 250}.{n % 250 + 1}"},
        )

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def token(self, page: str) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(page).text)
        assert found, f"no form on {page}"
        return found[1]

    def post(
        self, path: str, data: dict[str, Any] | None = None, *, page: str = "/", **options: Any
    ) -> httpx.Response:
        """Fills in and sends the form of `page`."""
        return self.http.post(path, data={"csrf_token": self.token(page), **(data or {})}, **options)

    def register(self) -> Visitor:
        answer = self.post(
            "/cadastro", {"name": "Ana Lima", "email": self.email, "password": PASSWORD}, page="/cadastro"
        )
        assert answer.status_code == 303, answer.text
        return self

    def sign_in(self, email: str, password: str) -> httpx.Response:
        return self.post("/entrar", {"email": email, "password": password}, page="/entrar")

    def ask(
        self, question: str = "Devo abrir uma segunda loja agora?", experts: int = 3, **fields: Any
    ) -> str:
        """Puts a question, around the saved answers, and returns the path of the council's page."""
        chosen = re.findall(r'name="experts" value="(\d+)"', self.get("/").text)[:experts]
        data = {"question": question, "experts": chosen, "fresh": "1", **fields}
        answer = self.post("/conselhos", data)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def events(
        self, path: str, *, after: int | None = None, until: Callable[[dict[str, Any]], bool] | None = None
    ) -> list[dict[str, Any]]:
        """The council's steps until its end, or until one that fits; ids are checked against the data."""
        headers = {"accept": "text/event-stream"}
        if after is not None:
            headers["last-event-id"] = str(after)
        steps: list[dict[str, Any]] = []
        with self.http.stream("GET", f"{path}/eventos", headers=headers) as stream:
            assert stream.status_code == 200, stream.status_code
            event_id, kind = 0, ""
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    event_id = int(line[4:])
                elif line.startswith("event: "):
                    kind = line[7:]
                elif (
                    line.startswith("data: ") and kind == "passo"
                ):  # not the farewell of a server that leaves
                    step = json.loads(line[6:])
                    assert step["seq"] == event_id
                    steps.append(step)
                    if until is not None and until(step):
                        return steps
        return steps

    def finished(self, path: str) -> httpx.Response:
        """The council's page after its end."""
        steps = self.events(path)
        assert steps[-1]["final"]
        return self.get(path)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator(answers="advisory.demo.answers:council") as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def an_obedient_model(request: pytest.FixtureRequest) -> Iterator[None]:
    """The simulator outlives a test: how it continues a cut answer is no concern of the next one."""
    yield
    if "simulator" in request.fixturenames:
        request.getfixturevalue("simulator").continuation("anchor")


@pytest.fixture(scope="session")
def outside() -> Iterator[sources.Simulator]:
    """Perplexity, YouTube and Unsplash."""
    with sources.Simulator() as outside:
        yield outside


@pytest.fixture(scope="session")
def make_settings(
    postgres_server: Any, redis_server: Any, simulator: Simulator, outside: sources.Simulator
) -> Callable[..., Settings]:
    """Settings on a new database."""

    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "environment": "test",
            "database_url": env.PostgresUrl(postgres_server.create_database(f"app_{secrets.token_hex(4)}")),
            "redis_url": env.RedisUrl(redis_server.url),
            "anthropic_api_key": env.Secret("test-key-5gT8wQ2z"),
            "anthropic_base_url": simulator.url,
            "perplexity_api_key": env.Secret("pplx-test-key-2Xc5"),
            "perplexity_base_url": outside.perplexity.url,
            "youtube_api_key": env.Secret("youtube-test-key-8Lm1"),
            "youtube_base_url": outside.youtube.url,
            "unsplash_access_key": env.Secret("unsplash-test-key-6Qw0"),
            "unsplash_base_url": outside.unsplash.url,
            "session_secret": env.Secret(secrets.token_urlsafe(48)),
        }
        return Settings(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def running() -> type[Running]:
    """For an app of a module's own."""
    return Running


@pytest.fixture
def a_visitor() -> Callable[[str], Any]:
    """For visitors of such an app, each with an account."""

    @contextmanager
    def visiting(url: str) -> Iterator[Visitor]:
        visitor = Visitor(url)
        with visitor.http:
            yield visitor.register()

    return visiting


@contextmanager
def _worker(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    secret = {
        "ANTHROPIC_API_KEY": settings.anthropic_api_key,
        "PERPLEXITY_API_KEY": settings.perplexity_api_key,
        "YOUTUBE_API_KEY": settings.youtube_api_key,
        "UNSPLASH_ACCESS_KEY": settings.unsplash_access_key,
        "SESSION_SECRET": settings.session_secret,
    }
    variables = {
        "DATABASE_URL": settings.database_url.reveal(),
        "ANTHROPIC_BASE_URL": settings.anthropic_base_url or "",
        "PERPLEXITY_BASE_URL": settings.perplexity_base_url,
        "YOUTUBE_BASE_URL": settings.youtube_base_url,
        "UNSPLASH_BASE_URL": settings.unsplash_base_url,
        "ENVIRONMENT": "test",
        "PYTHONPATH": PATHS,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
        **{name: value.reveal() for name, value in secret.items() if value is not None},
    }
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "advisory", "worker"], env=variables, stderr=stderr)
    try:
        deadline = time.monotonic() + 90
        while b"takes jobs" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the worker did not start"
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="session")
def worker() -> Callable[..., Any]:
    """For worker processes: ``with worker(settings, log) as process``; it takes jobs when the block begins."""
    return _worker


@pytest.fixture(scope="session")
def app(make_settings: Callable[..., Settings]) -> Iterator[Running]:
    running = Running(make_settings()).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; see `browsing.tab`."""
    with chromium() as found:
        yield found


@pytest.fixture(autouse=True)
def quiet_model(request: pytest.FixtureRequest) -> None:
    """Each test begins with a model that answers at once."""
    if {"app", "outside"} & set(request.fixturenames):
        model: Simulator = request.getfixturevalue("simulator")
        model.reset()
        request.getfixturevalue("outside").reset()


@pytest.fixture
def visitor(app: Running) -> Iterator[Visitor]:
    """A visitor without an account."""
    visitor = Visitor(app.url)
    with visitor.http:
        yield visitor


@pytest.fixture
def ana(visitor: Visitor) -> Visitor:
    """A visitor with an account."""
    return visitor.register()


@pytest.fixture
def bruno(app: Running) -> Iterator[Visitor]:
    """A second visitor with an account."""
    visitor = Visitor(app.url)
    with visitor.http:
        yield visitor.register()
