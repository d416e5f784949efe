"""The sample of each framework, served as its users would, on a real Redis and PostgreSQL."""

import ast
import importlib.util
import inspect
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prodkit import postgres

SAMPLES = Path(__file__).resolve().parents[3] / "examples" / "adoption"

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def sample(place: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> ModuleType:
    """Import one sample as a module of its own; its link waits for Redis while eight threads keep Python busy."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    name = "adoption_" + place.replace("/", "_").removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, SAMPLES / place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    if hasattr(module, "redis"):
        module.redis.timeout = 5.0
    return module


@pytest.fixture
def shop(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    module = sample("django/app.py", monkeypatch, REDIS_URL=redis_url)
    module.service.start()
    yield module
    module.service.close()


def test_django_serves_prices_health_and_an_exact_limit_from_eight_threads(shop: ModuleType) -> None:
    from django.test import Client

    first = Client().get("/price/7")
    assert (first.status_code, first.json()) == (200, {"product": 7, "price": 51.3})
    assert Client().get("/health").json()["status"] == "up"

    def ask(_: int) -> int:
        return Client().get("/price/7").status_code

    with ThreadPoolExecutor(8) as threads:
        codes = Counter(threads.map(ask, range(1200)))
    assert codes == {200: 999, 429: 201}
    refused = Client().get("/price/7")
    assert refused["Content-Type"] == "application/problem+json"
    assert 0 < int(refused["Retry-After"]) <= 60


def test_django_limits_eight_threads_of_a_thousand_requests_exactly(shop: ModuleType) -> None:
    """One window of an hour, so that no slow machine gets a second one."""
    from django.http import HttpRequest, HttpResponse

    @shop.limited(shop.ratelimit.Limit("1000/hour", name="exact"))
    def view(_: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    def ask(_: int) -> Counter[int]:
        codes = Counter[int]()
        for _number in range(1000):
            request = HttpRequest()
            request.META["REMOTE_ADDR"] = "192.0.2.7"
            codes[view(request).status_code] += 1
        return codes

    with ThreadPoolExecutor(8) as threads:
        codes = sum(threads.map(ask, range(8)), Counter[int]())
    assert codes == {200: 1000, 429: 7000}


def test_django_cache_backend(shop: ModuleType) -> None:
    from django.core.cache import cache as django_cache

    assert django_cache.get("k") is None
    django_cache.set("k", {"n": 1}, 60)
    assert django_cache.get("k") == {"n": 1}
    assert not django_cache.add("k", 2)
    assert django_cache.get_or_set("other", lambda: 5) == 5
    assert django_cache.delete("k")
    django_cache.set("k", 1, None)
    django_cache.clear()
    assert django_cache.get("k") is None


def test_flask(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sample("flask/app.py", monkeypatch, REDIS_URL=redis_url)
    with module.service:
        client = module.app.test_client()
        assert client.get("/price/2").get_json() == {"product": 2, "price": 51.3}
        codes = Counter(client.get("/price/2").status_code for _ in range(1005))
    assert codes == {200: 999, 429: 6}


def test_celery(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sample("celery/tasks.py", monkeypatch, REDIS_URL=redis_url)
    with module.service:
        module.app.conf.task_always_eager = True
        assert module.convert.delay(10, "EUR").get(timeout=10) == 54.0
        assert module.convert.delay(10, "USD").get(timeout=10) == 50.0


def test_litestar(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from litestar.testing import TestClient

    module = sample("litestar/app.py", monkeypatch, REDIS_URL=redis_url)
    with TestClient(module.app) as client:
        assert client.get("/price/3").json() == {"product": 3, "price": 51.3}
        assert client.get("/health").json()["status"] == "up"
        codes = Counter(client.get("/price/3").status_code for _ in range(1001))
    assert codes == {200: 999, 429: 2}


def test_starlette(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.testclient import TestClient

    module = sample("starlette/app.py", monkeypatch, REDIS_URL=redis_url)
    with TestClient(module.app) as client:
        assert client.get("/price/3").json() == {"product": 3, "price": 51.3}
        assert client.get("/api/health").json()["status"] == "up"
        codes = Counter(client.get("/price/3").status_code for _ in range(1001))
        refused = client.get("/price/3")
    assert codes == {200: 999, 429: 2}
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("worker", ["SimpleWorker", "Worker"])
def test_rq(redis_url: str, monkeypatch: pytest.MonkeyPatch, worker: str) -> None:
    """In the worker's own process and in a forked work horse."""
    module = sample("rq/tasks.py", monkeypatch, REDIS_URL=redis_url)
    with module.queue().connection as connection:
        queue = module.queue()
        made = [
            queue.enqueue("adoption_rq_tasks.convert", amount, currency)
            for amount, currency in ((10, "EUR"), (10, "USD"), (2, "EUR"))
        ]
        program = (
            "import importlib.util, sys, rq, redis\n"
            f"spec = importlib.util.spec_from_file_location('adoption_rq_tasks', {module.__file__!r})\n"
            "module = importlib.util.module_from_spec(spec)\n"
            "sys.modules[spec.name] = module\n"
            "spec.loader.exec_module(module)\n"
            f"rq.{worker}([module.queue()], connection=module.queue().connection).work(burst=True)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        assert [job.return_value(refresh=True) for job in made] == [54.0, 50.0, 10.8], done.stderr
        queue.connection.close()
        connection.close()


async def test_the_cells_of_the_notebook_run_in_its_loop() -> None:
    """As a kernel runs them: each cell compiled with top-level await, in one namespace."""
    notebook = json.loads((SAMPLES / "notebook" / "rates.ipynb").read_text())
    namespace: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile("".join(cell["source"]), cell["id"], "exec", flags=flags)
            result = eval(code, namespace)
            if inspect.isawaitable(result):
                await result
    assert (namespace["euro"], namespace["calls"]) == (5.4, 2)


async def test_sqlalchemy_over_our_pool(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import JSON, Integer, String, select, text
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class Item(Base):
        __tablename__ = "item"
        id: Mapped[int] = mapped_column(Integer, primary_key=True)
        name: Mapped[str] = mapped_column(String)
        extra: Mapped[dict[str, Any]] = mapped_column(JSON)

    module = sample("sqlalchemy/engine.py", monkeypatch)
    async with postgres.Pool(postgres_url, min_size=1, max_size=2, json=False) as db:
        engine = module.engine_over(db)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        for number in range(5):  # more sessions than connections: each goes back to the pool
            async with AsyncSession(engine) as session:
                session.add(Item(name=f"item {number}", extra={"n": number}))
                await session.commit()
        async with AsyncSession(engine) as session:
            found = (await session.scalars(select(Item).order_by(Item.id))).all()
            assert [item.extra["n"] for item in found] == [0, 1, 2, 3, 4]
        with pytest.raises(Exception, match="no_such_table"):
            async with AsyncSession(engine) as session:
                await session.execute(text("select * from no_such_table"))
        assert db.stats().size <= 2
        assert await db.fetchval("select count(*) from item") == 5
        await engine.dispose()


def test_a_script_needs_nothing_to_start() -> None:
    done = subprocess.run(
        [sys.executable, str(SAMPLES / "script" / "rates.py")], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "5.4"), done.stderr
