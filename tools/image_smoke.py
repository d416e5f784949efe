"""The deployment as its users and its operator meet it."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from image_parts import (
    HOME,
    PORT,
    PROJECT,
    Browser,
    Docker,
    container,
    health,
    inside,
    png,
    report,
    state,
    wait_for,
)  # fmt: skip

MAX_HEALTHY = 10.0  # seconds
MAX_STOP = 10.0
MAX_READY = 3.0
MAX_ANSWER = 0.1
MACHINE = Path("/sys/fs/cgroup")
COUNCILS = 20
CPUS, MEMORY = 2, 4 << 30

# Beside the services of compose.yaml: the Messages API of the test kit, and a service that speaks S3, which shares the
# network of the backup service, because plain http is for loopback only.
BESIDE = """
services:
  model:
    image: advisory
    command: [python, -m, prodkit.testing.anthropic, --host, 0.0.0.0, --port, "8099", --answers, council]
    healthcheck:
      disable: true
  bucket:
    image: advisory-bucket
    network_mode: service:backup
    command: [/moto/bin/moto_server, -H, 127.0.0.1, -p, "5000"]
"""
GROUP = "".join(
    f"  {service}:\n    cgroup_parent: {{group}}\n" for service in ("db", "redis", "app", "worker", "backup")
)


def smoke(docker: Docker, bases: dict[str, str]) -> None:
    address = f"http://127.0.0.1:{PORT}"
    env_file = HOME / "smoke.env"
    env_file.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "ANTHROPIC_API_KEY": "sk-not-a-key",
        "SESSION_SECRET": secrets.token_urlsafe(48),
        "ANTHROPIC_BASE_URL": "http://model:8099",
        "ENVIRONMENT": "development",  # plain http on loopback
        "LISTEN": f"127.0.0.1:{PORT}",
        "BACKUP_BUCKET": "s3://backups/smoke",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:5000",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "smoke",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(24),
        "OPERATOR_TOKEN": secrets.token_hex(24),
        **{name: value for name, value in bases.items() if name != "PYTHON_IMAGE"},
    }
    build_bucket(docker, bases)
    group = bounded()
    more = GROUP.format(group=group) if group else ""
    env_file.with_name("compose.smoke.yaml").write_text(BESIDE + more)
    env_file.touch(mode=0o600)
    env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    try:
        docker.compose("up", "-d", "--no-build", env_file=env_file)
        began = time.monotonic()
        wait_for(lambda: health(address) is not None, 60, "the app")
        wait_for(lambda: state(docker, "app") == "healthy", 60, "the app's health check")
        taken = time.monotonic() - began
        report("healthy after start", f"{taken:.1f} s", taken <= MAX_HEALTHY)
        make_bucket(docker)
        # "backup" is degraded until one lies in the bucket, "workers" is until the worker's first heartbeat.
        wait_for(lambda: (health(address) or {}).get("status") == "up", 60, "a health of up")
        found = health(address) or {}
        report("health", json.dumps(found.get("checks", {})), found.get("status") == "up")
        with polled(address):
            ana = browse(address)
        twenty(docker, ana, group)
        name = backup(docker)
        stop_with_stream(docker, env_file, ana)
        restore(docker, env_file, ana, name)
        secret = [value for key, value in values.items() if re.search("PASSWORD|SECRET|TOKEN", key)]
        hidden(docker, env_file, secret)
    except RuntimeError:
        print(docker.compose("logs", "--tail", "30", env_file=env_file, check=False)[-6000:])
        raise
    finally:
        docker.compose("down", "-v", env_file=env_file, check=False)
        remove(group)
        env_file.unlink(missing_ok=True)


@contextmanager
def polled(address: str) -> Iterator[None]:
    """Ask for health four times a second, as a balancer would, and report the slowest answer."""
    times: list[float] = []
    missing = 0
    ended = threading.Event()

    def ask() -> None:
        nonlocal missing
        while not ended.wait(0.25):
            began = time.monotonic()
            missing += health(address) is None
            times.append(time.monotonic() - began)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join(10)
    figure = f"{1000 * max(times):.0f} ms at most, {missing} of {len(times)} unanswered, load {os.getloadavg()[0]:.1f}"
    report("health while visited", figure, max(times) <= MAX_ANSWER and not missing)


def build_bucket(docker: Docker, bases: dict[str, str]) -> None:
    base = bases.get("PYTHON_IMAGE", "docker.io/library/python:3.13-slim-trixie")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(
            f"FROM {base}\nRUN python3 -m venv /moto && /moto/bin/pip install -q --no-cache-dir 'moto[server]>=5'\n"
        )
        docker("build", "-q", "--network", "host", "-t", "advisory-bucket", folder)


def bounded() -> str | None:
    """A control group of two CPUs and 4 GiB for the whole deployment, where this machine lets us make one."""
    name = f"/advisory-smoke-{os.getpid()}"
    period = 100_000
    try:
        if (MACHINE / "cgroup.controllers").exists():
            group = MACHINE / name[1:]
            group.mkdir()
            (group / "cpu.max").write_text(f"{CPUS * period} {period}")
            (group / "memory.max").write_text(str(MEMORY))
        else:
            for controller in ("cpu", "memory"):
                (MACHINE / controller / name[1:]).mkdir()
            (MACHINE / "cpu" / name[1:] / "cpu.cfs_quota_us").write_text(str(CPUS * period))
            (MACHINE / "memory" / name[1:] / "memory.limit_in_bytes").write_text(str(MEMORY))
    except OSError:
        return None
    return name


def remove(group: str | None) -> None:
    if group is None:
        return
    for place in (MACHINE / "cpu", MACHINE / "memory", MACHINE):
        for each in sorted((place / group[1:]).glob("**/"), reverse=True):
            try:
                each.rmdir()
            except OSError:
                continue


def used(group: str) -> str:
    """The most memory of the group and how often its processor time ran out."""
    for place, most in ((MACHINE / "memory", "memory.max_usage_in_bytes"), (MACHINE, "memory.peak")):
        if (place / group[1:] / most).exists():
            mb = int((place / group[1:] / most).read_text()) / 2**20
            stat = next(
                each for each in (MACHINE / "cpu", MACHINE) if (each / group[1:] / "cpu.stat").exists()
            )
            waits = dict(line.split() for line in (stat / group[1:] / "cpu.stat").read_text().splitlines())
            return f"{mb:.0f} MiB at most with its page cache, {waits.get('nr_throttled', '?')} periods throttled"
    return "not measured"


def sign_up(address: str, name: str) -> Browser:
    browser = Browser(address)
    browser.get("/cadastro")
    account = [("name", name), ("email", f"{name.lower()}@example.com"), ("password", "uma frase bem longa")]
    browser.post("/cadastro", *account)
    return browser


def begin(browser: Browser, question: str, experts: int) -> str:
    """Ask a council; return the path of its page."""
    known = re.findall(r'name="experts" value="(\d+)"', browser.get("/"))
    browser.post("/conselhos", ("question", question), *(("experts", each) for each in known[:experts]))
    return browser.path


def done(browser: Browser, place: str) -> bool:
    page = browser.get(place)
    return "Síntese pronta" in page or ("Síntese" in page and "aria-busy" not in page)


def browse(address: str) -> Browser:
    with urllib.request.urlopen(f"{address}/version", timeout=5) as answer:
        version = json.load(answer)
    report("version", version["commit"][:12], version["commit"] != "unknown")
    browser = sign_up(address, "Ana")
    report("register and log in", browser.path, "Sair" in browser.page)
    report("a page in Portuguese", browser.path, 'lang="pt-BR"' in browser.page)
    if 'name="experts"' not in browser.get("/"):
        report("experts to ask", "none", False)
        return browser
    place = begin(browser, "Devo abrir uma segunda padaria no mesmo bairro?", 3)
    taken = wait_for(lambda: done(browser, place), 60, "the council")
    report("council of three", f"{taken:.1f} s", "Síntese" in browser.page)
    browser.get("/personas/nova")
    browser.upload("/personas", png(), ("name", "Marta"), ("role", "mãe de dois filhos"))
    picture = re.search(r'src="(/avatares/[^"]+)"', browser.page)
    report("persona with a photo", browser.path, "Marta" in browser.page and picture is not None)
    if picture is not None:
        with browser.opener.open(address + picture[1], timeout=20) as answer:
            report("the photo", answer.headers["Content-Type"], answer.status == 200)
    browser.get("/conversas/nova")
    speaker = re.search(r'name="speaker" value="([^"]+)"', browser.page)
    if speaker is None:
        report("chat", "nobody to talk to", False)
        return browser
    browser.post("/conversas", ("speaker", speaker[1]), ("question", "Vale a pena abrir aos domingos?"))
    chat = browser.path
    taken = wait_for(lambda: "data-events=" not in browser.get(chat), 60, "the chat")
    report("chat", f"{taken:.1f} s", 'class="prose"' in browser.page)
    return browser


def twenty(docker: Docker, ana: Browser, group: str | None) -> None:
    """Councils of five experts at once, ten of each of two people: an hour allows no more."""
    query = (
        "select count(*), count(*) filter (where state <> 'idle') from pg_stat_activity"
        " where datname = 'advisory' and pid <> pg_backend_pid()"
    )
    _, idle = inside(docker, "db", "psql", "-U", "advisory", "-Atc", query, "advisory")
    people = [sign_up(ana.address, "Bia"), sign_up(ana.address, "Caio")]
    began = time.monotonic()
    places = [
        (each, begin(each, f"Devo abrir a loja número {number}?", 5))
        for number in range(COUNCILS // 2)
        for each in people
    ]
    asked = time.monotonic() - began
    for each, place in places:
        wait_for(lambda each=each, place=place: done(each, place), 120, "a council")  # type: ignore[misc]
    figure = f"{time.monotonic() - began:.1f} s (asked within {asked:.1f} s)"
    limit = f"in 2 CPUs and 4 GiB: {used(group)}" if group else "without limits of the whole"
    report(f"{len({place for _, place in places})} councils of five", f"{figure}, {limit}")
    report("connections before them (open|at work)", idle)


def make_bucket(docker: Docker) -> None:
    """A bucket, and a first backup in it: the service's own may have come before the bucket."""
    make = "import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:5000/backups', method='PUT'))"
    wait_for(lambda: not inside(docker, "bucket", "/moto/bin/python", "-c", make)[0], 60, "the bucket")
    inside(docker, "backup", "python", "-m", "advisory.deploy.backups", "run")


def backup(docker: Docker) -> str:
    """One backup, verified by a restore and stored in the bucket; the commands of the guide; its file's name."""
    code, said = inside(docker, "backup", "python", "-m", "advisory.deploy.backups", "run")
    report("backup dumped, restored and stored", said[-120:], code == 0)
    code, said = inside(docker, "backup", "sh", "-c", 'prodkit backup list --json --bucket "$BACKUP_BUCKET"')
    there = re.findall(r"[\w.-]+\.dump\b", said)
    report("listed in the bucket", said[-200:], code == 0 and bool(there))
    name = there[0] if there else "none"
    inside(docker, "backup", "sh", "-c", f"rm /backups/{name}*")  # the loss of the disk
    code, said = inside(docker, "backup", "prodkit", "backup", "download", name, "/backups")
    report("fetched from the bucket", said[-120:], code == 0)
    code, said = inside(docker, "backup", "prodkit", "backup", "verify", f"/backups/{name}")
    report("restore drill", said[-120:], code == 0)
    for each in ("deleted", "purge"):
        code, said = inside(docker, "worker", "python", "-m", "advisory", each)
        report(each, said[-160:], code == 0)
    code, said = inside(docker, "backup", "prodkit", "backup", "list", "/backups")
    report("listed in the volume", f"exit code {code}", code == 0 and name[:20] in said.replace("\n", ""))
    code, said = inside(docker, "backup", "python", "-m", "advisory.deploy.backups", "check")
    report("the backup is recent", f"exit code {code}", code == 0)
    return name


def stop_with_stream(docker: Docker, env_file: Path, ana: Browser) -> None:
    """Stop while a council waits for its answers and a page holds its stream; afterwards it goes on."""
    docker.compose("pause", "model", env_file=env_file)
    place = begin(ana, "Devo contratar um gerente?", 3)
    ended: dict[str, Any] = {}
    first = threading.Event()

    def hold() -> None:
        lines = 0
        try:
            with ana.opener.open(f"{ana.address}{place}/eventos", timeout=60) as answer:
                for _ in answer:
                    lines += 1
                    first.set()
            ended["how"] = f"whole after {lines} lines"
        except (OSError, http.client.HTTPException) as error:
            ended["how"] = f"cut: {error!r}"

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    first.wait(20)
    open_before = holder.is_alive() and first.is_set()
    began = time.monotonic()
    docker.compose("stop", "app", "worker", env_file=env_file)
    taken = time.monotonic() - began
    holder.join(20)
    how = str(ended.get("how"))
    codes = [
        docker("inspect", "--format", "{{.State.ExitCode}}", container(docker, each))
        for each in ("app", "worker")
    ]
    report(
        "stopped with a stream open",
        f"{taken:.1f} s, exit codes {' and '.join(codes)}; the stream ended {how}",
        open_before and taken <= MAX_STOP and set(codes) <= {"0", "143"} and how.startswith("whole"),
    )
    docker.compose("unpause", "model", env_file=env_file)
    docker("start", container(docker, "app"))
    ready = wait_for(lambda: health(ana.address) is not None, 60, "the app")
    report("ready after its start", f"{ready:.1f} s", ready <= MAX_READY)
    docker.compose("start", "worker", env_file=env_file)
    taken = wait_for(lambda: done(ana, place), 90, "the council that was under way")
    report("its council goes on", f"finished {taken:.1f} s after the new start")


def restore(docker: Docker, env_file: Path, ana: Browser, name: str) -> None:
    """The database as it was in the backup."""
    docker.compose("stop", "app", "worker", env_file=env_file)
    code, said = inside(docker, "backup", "prodkit", "backup", "restore", f"/backups/{name}", "--replace")
    report("restored from the bucket's backup", said[-160:], code == 0)
    docker.compose("start", "app", "worker", env_file=env_file)
    wait_for(lambda: health(ana.address) is not None, 60, "the app")
    ana.get("/")
    page = ana.page
    known = "segunda padaria" in page and "contratar um gerente" not in page
    report("councils as of the backup", "the first is there, the one after it is not", known)


def hidden(docker: Docker, env_file: Path, secret: list[str]) -> None:
    """No secret stands in a log, nor anywhere in an inspection but the environment."""
    said = docker.compose("logs", env_file=env_file)
    shown = ""
    for each in docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}").split():
        about = json.loads(docker("inspect", each))[0]
        about["Config"].pop("Env", None)
        shown += json.dumps(about)
    found = [
        place for place, text in (("logs", said), ("inspection", shown)) if any(s in text for s in secret)
    ]
    report("secrets in logs and inspections", ", ".join(found) or "in none", not found)
