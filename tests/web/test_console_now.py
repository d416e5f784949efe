"""The console's sections of the present, and that no page of it shows a secret."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import prodkit as pk
from prodkit import jobs
from prodkit.core.check import CheckResult
from prodkit.core.events import Event
from prodkit.core.secrets import REGISTRY
from prodkit.testing.trace import UpstreamError
from prodkit.web import Console

CANARY = "kq2vS1nGdJ0m4T8yRwZcLxHb7uEoPfA9"


@pytest.fixture
def _registered() -> Iterator[None]:
    REGISTRY.add(CANARY)
    yield
    REGISTRY.clear()


def page(console: Console) -> str:
    found = TestClient(Starlette(routes=console.routes())).get("/console")
    assert found.status_code == 200
    return found.text


def classes(base: type[Event]) -> Iterator[type[Event]]:
    for each in base.__subclasses__():
        yield each
        yield from classes(each)


def known() -> list[type[Event]]:
    """Every event class of the kit whose module can be imported here."""
    for module in pkgutil.walk_packages(pk.__path__, "prodkit."):
        if module.name.endswith((".events", ".drain", ".health", ".csrf", ".errors", ".security_headers")):
            importlib.import_module(module.name)
    return [
        each for each in classes(Event) if each.__module__.startswith("prodkit.") and "name" in vars(each)
    ]


def filled(kind: type[Event], texts: str) -> Event:
    """An event whose every text is `texts`."""

    def value(field: dataclasses.Field[Any]) -> Any:
        plain = {"int": 3, "float": 1.5, "bool": True, "int | None": 3, "float | None": 1.5, "datetime": None}
        name = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
        if name in plain:
            return plain[name]
        return (texts,) if name.startswith(("tuple", "Sequence", "list")) else texts

    return kind(**{field.name: value(field) for field in dataclasses.fields(kind) if field.init})


@pytest.mark.usefixtures("_registered")
def test_no_secret_in_any_event_reaches_the_page() -> None:
    class Leaky:
        name = "leaky"

        async def check(self) -> CheckResult:
            return CheckResult("down", f"postgresql://u:hunter2@db {CANARY}", {"dsn": CANARY})

    runtime = pk.Runtime()
    console = Console(runtime, pk.Health(Leaky(), runtime=runtime), allow=lambda request: True)
    found = known()
    assert len(found) > 60
    for kind in found:
        runtime.events.emit(filled(kind, f"password=hunter2 {CANARY}"))
    html = page(console) + TestClient(Starlette(routes=console.routes())).get("/console/fragment").text
    assert "***" in html
    assert CANARY not in html
    assert "hunter2" not in html
    console.close()


def test_policy_sets_are_shown_with_their_settings() -> None:
    runtime = pk.Runtime()
    policies = pk.PolicySet(
        {"perplexity": {"retry": 3, "breaker": {"failures": 5}, "timeout": 5}, "mail": {"timeout": 2}},
        runtime=runtime,
    )
    console = Console(runtime, allow=lambda request: True, policies=[policies])
    html = page(console)
    for each in ("Policies", "perplexity", "mail", "closed"):
        assert each in html
    policies.change({"mail": {"timeout": 77}})
    console._rendered = None
    assert "77" in page(console)
    console.close()


async def test_policy_sets_show_their_state_and_figures_of_now() -> None:
    runtime = pk.Runtime()
    policies = pk.PolicySet({"perplexity": {"breaker": {"failures": 2}, "gate": True}}, runtime=runtime)
    console = Console(runtime, allow=lambda request: True, policies=[policies])

    async def broken() -> None:
        raise UpstreamError(429, 30)

    with pytest.raises(UpstreamError):
        await policies["perplexity"].wrap(broken)()
    found = {each.kind: each for each in policies.snapshot()["perplexity"]}
    html = page(console)
    assert found["gate"].state == "closed"
    assert '<b class="bad">closed</b>' in html  # the gate refuses; a closed breaker does not
    assert "retry_after=" in html
    assert f"failures={found['breaker'].figures['failures']}" in html
    console.close()


def test_a_policy_set_that_cannot_be_read_leaves_the_page() -> None:
    class Broken:
        def snapshot(self) -> dict[str, tuple[object, ...]]:
            raise RuntimeError("the flag's store is away")

        def __repr__(self) -> str:
            return "Broken()"

    console = Console(pk.Runtime(), allow=lambda request: True, policies=[Broken()])
    assert "Broken() could not be read" in page(console)
    console.close()


class Queue:
    def __init__(self, found: jobs.Snapshot | Exception) -> None:
        self.found = found

    async def snapshot(self, *, limit: int = 20) -> jobs.Snapshot:
        await asyncio.sleep(0)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_the_queue_is_shown() -> None:
    stats = jobs.Stats(queued=7, due=2, running=1, dead=1, oldest_due=12.0, workers=3)
    kind = jobs.KindStats(kind="council.<run>", queued=7, due=2, running=1, dead=1, ended=5, oldest_due=12.0)
    console = Console(
        pk.Runtime(), allow=lambda request: True, jobs=Queue(jobs.Snapshot(stats=stats, kinds=(kind,)))
    )
    html = page(console)
    assert "council.&lt;run&gt;" in html
    assert "3 workers" in html
    assert "12 s" in html
    console.close()


def test_a_queue_that_cannot_be_read_leaves_the_page() -> None:
    console = Console(pk.Runtime(), allow=lambda request: True, jobs=Queue(OSError("gone")))
    assert "could not be read" in page(console)
    console.close()


def test_wrong_parts_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"policies(.|\n)*jobs"):
        Console(pk.Runtime(), allow=lambda request: True, policies=[3], jobs=4)  # type: ignore[list-item, arg-type]


def test_charts_begin_scrolled_to_the_newest_minutes() -> None:
    runtime = pk.Runtime()
    console = Console(runtime, allow=lambda request: True)
    pk.CircuitBreaker("db", runtime=runtime).isolate()
    assert 'class="wide chart"' in page(console)
    style = TestClient(Starlette(routes=console.routes())).get("/console/console.css").text
    assert ".chart{direction:rtl}" in style
    console.close()
