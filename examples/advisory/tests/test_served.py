"""Served by its own commands as an operator runs them: from an empty database to a restored backup, and a deploy."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import statistics
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from PIL import Image

from advisory.tests.served import Balancer, Deployment, Load, cpu_seconds, ready, wait_for
from prodkit import backup

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
QUESTION = "Devo abrir uma segunda loja agora?"


def variables(settings: Any, **more: str) -> dict[str, str]:
    return {
        "ENVIRONMENT": "development",
        "DATABASE_URL": settings.database_url.reveal(),
        "REDIS_URL": settings.redis_url.reveal(),
        "ANTHROPIC_API_KEY": settings.anthropic_api_key.reveal(),
        "ANTHROPIC_BASE_URL": settings.anthropic_base_url,
        "SESSION_SECRET": settings.session_secret.reveal(),
        **more,
    }


def rows(url: str) -> dict[str, int]:
    """The number of rows of each table of the app."""

    async def count() -> dict[str, int]:
        connection = await asyncpg.connect(url)
        try:
            tables = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
            return {
                each[0]: await connection.fetchval(f'select count(*) from "{each[0]}"')
                for each in tables
                if not each[0].startswith("pgqueuer")
            }
        finally:
            await connection.close()

    return asyncio.run(count())


def test_from_an_empty_database_to_a_restored_backup(
    make_settings, a_visitor, simulator, postgres_server, tmp_path
):
    simulator.reset()
    settings = make_settings()
    with Deployment(tmp_path, variables(settings)) as deployment:
        migrated = deployment.run("advisory", "migrate")
        assert migrated.returncode == 0, migrated.stderr
        web, port = deployment.serve()
        started = wait_for(lambda: ready(port), 60, "the app")
        print(f"ready {started:.2f} s after its start")
        deployment.worker()
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/version", timeout=5).json()["prodkit"]
        with Load(url, ("/api/health",), clients=1) as health, a_visitor(url) as ana:
            page = ana.finished(ana.ask(QUESTION))
            assert "Síntese pronta" in page.text
            persona_with_a_photo(ana)
            chat(ana)
        took = sorted(1000 * each for each in health.seconds["/api/health"])
        print(
            f"health: median {statistics.median(took):.0f} ms, 99 of 100 below {took[len(took) * 99 // 100]:.0f} ms,"
            f" at worst {took[-1]:.0f} ms, of {len(took)}; load {os.getloadavg()[0]:.1f}"
        )
        assert not health.failures
        assert statistics.median(took) < 1000  # a limit against a hang; the aim is 100 ms throughout

        again, other_port = deployment.serve()
        started = wait_for(lambda: ready(other_port), 60, "a second replica")
        print(f"a second replica: ready {started:.2f} s after its start, {cpu_seconds(again):.2f} s of CPU")

        counted = deployment.run("advisory", "deleted")
        assert "runs: 0 apagados" in counted.stdout, counted.stderr
        assert "linhas removidas" in deployment.run("advisory", "purge").stdout

        place = tmp_path / "backups"
        place.mkdir()
        done = deployment.run("advisory.deploy.backups", "run", BACKUP_DIRECTORY=str(place))
        assert done.returncode == 0, done.stderr
        assert deployment.run("advisory.deploy.backups", "check", BACKUP_DIRECTORY=str(place)).returncode == 0
        kept = rows(settings.database_url.reveal())
        (dump,) = [path for path in place.iterdir() if path.name in (place / "last-verified").read_text()]
        other = postgres_server.create_database("restored")
        asyncio.run(backup.restore(dump, other))
        restored = rows(other)
        assert kept.pop("backups") == 1  # noted when it was verified: no dump holds its own record
        assert restored.pop("backups") == 0
        assert {name: kept[name] for name in restored} == restored
        assert restored["app_user"] == 1 if "app_user" in restored else True

        for each in (web, again):
            each.send_signal(signal.SIGTERM)
            assert each.wait(20) in (0, 143, -signal.SIGTERM)
        assert "Traceback" not in deployment.logs()


def persona_with_a_photo(person: Any) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(picture, "PNG")
    made = person.post(
        "/personas",
        {"name": "Marta", "role": "mãe de dois filhos"},
        page="/personas/nova",
        files={"avatar": ("eu.png", picture.getvalue(), "image/png")},
    )
    assert made.status_code == 303, made.text
    shown = re.search(r'src="(/avatares/[^"]+)"', person.get(made.headers["location"]).text)
    assert shown
    assert person.get(shown[1]).headers["content-type"].startswith("image/")


def begun_chat(person: Any, question: str) -> str:
    """The page of a conversation whose first answer is being written."""
    form = person.get("/conversas/nova").text
    speaker = re.search(r'name="speaker" value="([^"]+)"', form)
    assert speaker
    begun = person.post("/conversas", {"speaker": speaker[1], "question": question}, page="/conversas/nova")
    assert begun.status_code == 303, begun.text
    return str(begun.headers["location"])


def chat(person: Any) -> None:
    place = begun_chat(person, "Abrir aos domingos?")
    wait_for(lambda: "data-events=" not in person.get(place).text, 60, "the chat")
    assert 'class="prose"' in person.get(place).text


def watched_chat(person: Any, number: int) -> Watched:
    """A conversation whose first answer is being written, and its stream."""
    place = begun_chat(person, f"Abrir aos domingos, na loja {number}?")
    found = re.search(r'data-events="([^"]+)/eventos', person.get(place).text)
    assert found, "the answer ended before it was watched"
    return Watched(person, found[1])


def test_a_rolling_deploy_loses_no_council_no_chat_no_request_and_repeats_no_expert(
    make_settings, a_visitor, simulator, tmp_path
):
    simulator.reset()
    settings = make_settings()
    with ExitStack() as stack:
        deployment = stack.enter_context(Deployment(tmp_path, variables(settings, DRAIN_SECONDS="2")))
        assert deployment.run("advisory", "migrate").returncode == 0
        old, old_port = deployment.serve()
        wait_for(lambda: ready(old_port), 60, "the old app")
        old_worker = deployment.worker()
        balancer = stack.enter_context(Balancer(old_port))
        people = [stack.enter_context(a_visitor(balancer.url)) for _ in range(10)]
        simulator.always("slow-6")
        load = stack.enter_context(Load(balancer.url, ("/api/health", "/entrar"), clients=4))
        paths = [person.ask(QUESTION) for person in people]
        watched = [Watched(person, path) for person, path in zip(people, paths, strict=True)]

        new, new_port = deployment.serve()
        wait_for(lambda: ready(new_port), 60, "the new app")
        deployment.worker()
        chats = [watched_chat(person, number) for number, person in enumerate(people)]
        balancer.ports.append(new_port)
        time.sleep(1.0)  # the balancer has seen it
        began = time.monotonic()
        old.send_signal(signal.SIGTERM)
        old_worker.send_signal(signal.SIGTERM)
        assert old.wait(30) in (0, 143, -signal.SIGTERM)
        balancer.ports.remove(old_port)
        assert old_worker.wait(30) == 0
        print(f"the old processes left after {time.monotonic() - began:.1f} s")
        simulator.always("ok")
        for each in (*watched, *chats):
            each.join(120)
        time.sleep(0.5)
        load.__exit__()
        print(f"{load.answered} requests answered, {len(load.failures)} not; {new.pid} serves")
        assert not load.failures, Counter(load.failures)
        moved = sum(bool(each.interruptions) for each in chats)
        print(f"{moved} of {len(chats)} chats had their stream moved to the new process")
        for each in (*watched, *chats):
            assert each.steps[-1].get("final"), each.steps[-1]
            assert [step["seq"] for step in each.steps] == list(range(1, len(each.steps) + 1))
        for each in chats:
            answer = each.visitor.get(each.path.partition("/turnos")[0]).text
            assert "Resposta incompleta" not in answer
            assert sum(step["kind"] == "turn.finished" for step in each.steps) == 1
        for each in watched:
            kinds = Counter(step["kind"] for step in each.steps)
            assert kinds["seat.done"] == 3
            assert kinds["run.finished"] == 1
            finished: set[object] = set()
            for step in each.steps:  # no expert that had finished is asked again
                if step["kind"] == "seat.done":
                    finished.add(step["target"])
                if step["kind"] == "seat.started":
                    assert step["target"] not in finished


class Watched(threading.Thread):
    """A page that shows a council: its stream reconnects where it ended, until the last step."""

    def __init__(self, visitor: Any, path: str) -> None:
        super().__init__(daemon=True)
        self.visitor = visitor
        self.path = path
        self.steps: list[dict[str, Any]] = []
        self.interruptions: list[str] = []
        self.start()

    def run(self) -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until and not (self.steps and self.steps[-1].get("final")):
            try:
                self._follow()
            except httpx.HTTPError as error:
                self.interruptions.append(repr(error))
                time.sleep(0.2)

    def _follow(self) -> None:
        headers = {"accept": "text/event-stream"}
        if self.steps:
            headers["last-event-id"] = str(self.steps[-1]["seq"])
        with self.visitor.http.stream("GET", f"{self.path}/eventos", headers=headers) as stream:
            if stream.status_code != 200:
                self.interruptions.append(str(stream.status_code))
                time.sleep(0.2)
                return
            for line in stream.iter_lines():
                step = json.loads(line[6:]) if line.startswith("data: ") else {}
                if "seq" in step:  # the notice of a process that leaves has none
                    self.steps.append(step)
                    if step.get("final"):
                        return
        self.interruptions.append("end of the stream")


@pytest.fixture
def four_gib() -> Any:
    """A control group of 4 GiB, where this machine lets us make one; else None."""
    group = Path(f"/sys/fs/cgroup/memory/prodkit-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(4 * 2**30))
    except OSError:
        yield None
        return
    yield group
    for pid in (group / "cgroup.procs").read_text().split():
        Path(group.parent / "cgroup.procs").write_text(pid)
    for _ in range(100):
        with suppress(OSError):  # its last process is still on its way out
            group.rmdir()
            break
        time.sleep(0.05)


def test_twenty_councils_at_once_in_four_gib(make_settings, a_visitor, simulator, four_gib, tmp_path):
    simulator.reset()
    settings = make_settings()
    url = settings.database_url.reveal()
    with ExitStack() as stack:
        deployment = stack.enter_context(Deployment(tmp_path, variables(settings), cgroup=four_gib))
        assert deployment.run("advisory", "migrate").returncode == 0
        _, port = deployment.serve()
        wait_for(lambda: ready(port), 60, "the app")
        deployment.worker()
        people = [stack.enter_context(a_visitor(f"http://127.0.0.1:{port}")) for _ in range(20)]
        time.sleep(1.0)
        opened, busy = connections(url)
        print(f"without a request: {opened} connections open, {busy} of them at work")
        assert busy <= 0.2 * opened
        simulator.always("slow-1")
        memory = Sampled(deployment.processes)
        began = time.monotonic()
        paths = [person.ask(QUESTION, experts=5) for person in people]
        watched = [Watched(person, path) for person, path in zip(people, paths, strict=True)]
        for each in watched:
            each.join(120)
        seconds = time.monotonic() - began
        memory.stop.set()
        memory.join()
        print(
            f"20 councils in {seconds:.1f} s; {memory.most / 2**20:.0f} MiB at most in web and worker,"
            f" limit {'4 GiB by control group' if four_gib else 'not set'}; {connections(url)[0]} connections"
        )
        assert [each.steps[-1]["kind"] for each in watched] == ["run.finished"] * 20
        assert memory.most < 4 * 2**30


def connections(url: str) -> tuple[int, int]:
    """Connections of the app to its database: open ones, and those at work."""

    async def count() -> tuple[int, int]:
        connection = await asyncpg.connect(url)
        try:
            row = await connection.fetchrow(
                "select count(*) as opened, count(*) filter (where state <> 'idle') as busy from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            return row["opened"], row["busy"]
        finally:
            await connection.close()

    return asyncio.run(count())


class Sampled(threading.Thread):
    """The memory that processes share out, four times a second."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        super().__init__(daemon=True)
        self.processes = processes
        self.most = 0
        self.stop = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stop.wait(0.25):
            total = 0
            for each in self.processes:
                try:
                    text = Path(f"/proc/{each.pid}/smaps_rollup").read_text()
                except OSError:
                    continue
                found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
                total += int(found[1]) * 1024 if found else 0
            self.most = max(self.most, total)
