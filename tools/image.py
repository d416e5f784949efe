"""Build the image of the reference app and try it for real: `python3 noxfile.py image`.

Builds with Docker's BuildKit (and with buildah where it is installed), starts compose, checks it as a user would,
stops it with a stream open, updates to a broken image and watches the rollback, and reports sizes and times.

Needs a Docker daemon, or root and Debian's docker.io and docker-compose, from which it starts a daemon of its own in
`.prodkit/image`. Where no image registry can be reached, the base images are made with debootstrap (`--local-bases`).
Skipped with the reason where neither is there. Nothing is installed on the machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "examples" / "advisory" / "deploy"
HOME = ROOT / ".prodkit" / "image"
PORT = 18471
PROJECT = "advisory-smoke"
BASE = "prodkit-local/python"
MAX_ABOVE_BASE = 120  # MB
MAX_HEALTHY = 10.0  # seconds
MAX_STOP = 10.0

SERVERS = {
    "prodkit-local/postgres": (
        "postgresql",
        """set -e
D=/var/lib/postgresql/data; mkdir -p $D /run/postgresql; chown -R postgres /var/lib/postgresql /run/postgresql
as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
export PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ ! -s $D/PG_VERSION ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/pw; chmod 644 /tmp/pw
  as initdb -D $D -U "$POSTGRES_USER" --pwfile=/tmp/pw --auth-host=scram-sha-256 --auth-local=trust > /dev/null
  rm /tmp/pw; echo "host all all all scram-sha-256" >> $D/pg_hba.conf
  as pg_ctl -D $D -w -o "-c listen_addresses=''" start > /dev/null
  as createdb -U "$POSTGRES_USER" "$POSTGRES_DB"; as pg_ctl -D $D -w stop > /dev/null
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -D $D -c listen_addresses='*'
""",
    ),
    "prodkit-local/valkey": ("valkey-server valkey-tools", 'exec "$@"\n'),
}


# The Messages API of the test kit, beside the services of compose.yaml.
SIMULATOR = """
services:
  model:
    image: advisory
    command: [python, -m, prodkit.testing.anthropic, --host, 0.0.0.0, --port, "8099", --answers, council]
    healthcheck:
      disable: true
"""


class Skip(Exception):  # noqa: N818
    """The reason why nothing was tried."""


class Docker:
    """The docker command against one daemon."""

    def __init__(self, host: str | None, program: str) -> None:
        self.environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        if host is not None:
            self.environment["DOCKER_HOST"] = host
        self.program = program

    def __call__(self, *words: str, check: bool = True, timeout: float = 900) -> str:
        done = subprocess.run(
            [self.program, *words], env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(words[:3])}: {done.stderr[-2000:]}")
        return done.stdout.strip()

    def compose(self, *words: str, env_file: Path, check: bool = True, timeout: float = 300) -> str:
        named = os.environ.get("COMPOSE") or shutil.which("docker-compose")  # COMPOSE: another version of it
        base = [named] if named else [self.program, "compose"]
        files = ["-f", str(DEPLOY / "compose.yaml"), "-f", str(env_file.with_name("compose.smoke.yaml"))]
        options = ["--env-file", str(env_file), "-p", PROJECT, *files]
        done = subprocess.run(
            [*base, *options, *words], env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode:
            raise RuntimeError(f"compose {' '.join(words)}: {(done.stdout + done.stderr)[-3000:]}")
        return done.stdout


@contextmanager
def daemon() -> Iterator[Docker]:
    """The machine's Docker, or one of our own."""
    for program in filter(None, (shutil.which("docker"), "/usr/bin/docker")):
        known = Docker(None, program)
        try:
            known("info", "--format", "{{.ServerVersion}}", timeout=20)
        except (RuntimeError, OSError, subprocess.TimeoutExpired):
            continue
        yield known
        return
    dockerd = shutil.which("dockerd")
    if dockerd is None or os.geteuid() != 0 or not Path("/usr/bin/docker").exists():
        raise Skip(
            "no Docker daemon, and none can be started (root, docker.io, iptables and docker-compose are needed)"
        )
    place = Path(tempfile.mkdtemp(prefix="prodkit-image-"))
    socket = place / "docker.sock"
    with (place / "log").open("w") as log:
        options = [
            "--data-root",
            str(HOME / "data"),
            "--exec-root",
            str(place / "exec"),
            "-p",
            str(place / "pid"),
        ]
        network = ["--iptables=false", "--bridge=none", "--ip-forward=false"]
        process = subprocess.Popen(
            [dockerd, *options, "-H", f"unix://{socket}", "--storage-driver", "vfs", *network],
            stdout=log,
            stderr=log,
        )
    own = Docker(f"unix://{socket}", "/usr/bin/docker")
    try:
        wait_for(lambda: socket.exists() and bool(own("info", check=False)), 30, "the Docker daemon")
        yield own
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(place, ignore_errors=True)


def wait_for(ready: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until `ready()`; return the seconds it took."""
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > seconds:
            raise RuntimeError(f"{what} was not ready within {seconds:g} s")
        time.sleep(0.25)
    return time.monotonic() - began


def local_bases(docker: Docker) -> dict[str, str]:
    """Make the base images with debootstrap, and return the variables that name them."""
    if not docker("images", "-q", BASE):
        if shutil.which("debootstrap") is None or os.geteuid() != 0:
            raise Skip(
                "no image registry was chosen away, and debootstrap (as root) is missing for local bases"
            )
        root = HOME / "base"
        shutil.rmtree(root, ignore_errors=True)
        command = [
            "debootstrap",
            "--variant=minbase",
            "--include=python3,python3-venv,ca-certificates",
            "trixie",
        ]
        subprocess.run([*command, str(root)], check=True, stdout=subprocess.DEVNULL)
        shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
        for name in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
        tar = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
        certificates = "/etc/ssl/certs/ca-certificates.crt"
        change = f"ENV PIP_CERT={certificates} SSL_CERT_FILE={certificates}"
        subprocess.run(
            [docker.program, "import", "--change", change, "-", BASE],
            stdin=tar.stdout,
            env=docker.environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        tar.wait()
        shutil.rmtree(root, ignore_errors=True)
    for name, (packages, entry) in SERVERS.items():
        if docker("images", "-q", name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "entry.sh").write_text(entry)
            (Path(folder) / "Dockerfile").write_text(
                f"FROM {BASE}\nRUN apt-get update && apt-get install -y --no-install-recommends {packages}"
                " && rm -rf /var/lib/apt/lists/*\n"
                'COPY entry.sh /entry.sh\nSTOPSIGNAL SIGINT\nENTRYPOINT ["sh", "/entry.sh"]\nCMD ["true"]\n'
            )
            docker("build", "-q", "--network", "host", "-t", name, folder)
    return {
        "PYTHON_IMAGE": BASE,
        "POSTGRES_IMAGE": "prodkit-local/postgres",
        "REDIS_IMAGE": "prodkit-local/valkey",
    }


def build(docker: Docker, bases: dict[str, str]) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    arguments = ["--build-arg", f"COMMIT={commit}"]
    if "PYTHON_IMAGE" in bases:
        arguments += ["--build-arg", f"PYTHON_IMAGE={bases['PYTHON_IMAGE']}"]
    for target, tag in (("app", "advisory"), ("backup", "advisory-backup")):
        began = time.monotonic()
        docker(
            "build", "--network", "host", "-q", "-f", str(DEPLOY / "Dockerfile"), "--target", target, *arguments,
            "-t", tag, str(ROOT),
        )  # fmt: skip
        report(f"{tag} built with BuildKit", f"{time.monotonic() - began:.0f} s")
    base = size(docker, bases.get("PYTHON_IMAGE", "docker.io/library/python:3.13-slim-trixie"))
    app = size(docker, "advisory")
    report("image", f"{app:.0f} MB, {app - base:.0f} MB above its base", app - base <= MAX_ABOVE_BASE)
    backup = size(docker, "advisory-backup")
    report("backup image", f"{backup:.0f} MB, {backup - app:.0f} MB above the app's")
    found = docker(
        "run", "--rm", "--network", "none", "--ulimit", "nofile=4096:4096", "--user", "0", "advisory", "sh", "-c",
        "find / -xdev \\( -name .env -o -name .git -o -name '*.pem.key' \\) -not -path '/proc/*'",
    )  # fmt: skip
    report("no .env and no .git in the image", found or "none found", not found)


def buildah(docker: Docker) -> None:
    """Build the same Dockerfile with buildah, from the local base."""
    program = shutil.which("buildah")
    if program is None or os.geteuid() != 0 or not docker("images", "-q", BASE):
        report("buildah", "skipped: not installed, or no local base")
        return
    storage = [
        "--root",
        str(HOME / "buildah"),
        "--runroot",
        str(HOME / "buildah-run"),
        "--storage-driver",
        "vfs",
    ]
    archive = HOME / "base.tar"
    docker("save", "-o", str(archive), BASE)
    subprocess.run(
        [program, *storage, "pull", "-q", f"docker-archive:{archive}"], check=True, stdout=subprocess.DEVNULL
    )
    archive.unlink()
    began = time.monotonic()
    options = [
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "--pull-never",
        "--network",
        "host",
        "--ignorefile",
        str(ROOT / ".dockerignore"),
    ]
    command = [
        program,
        *storage,
        "bud",
        *options,
        "-f",
        str(DEPLOY / "Dockerfile"),
        "--build-arg",
        f"PYTHON_IMAGE=localhost/{BASE}",
        "--target",
        "app",
        "-t",
        "advisory",
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    report("built with buildah", f"{time.monotonic() - began:.0f} s", done.returncode == 0)
    if done.returncode:
        print(done.stderr[-2000:])


def size(docker: Docker, image: str) -> float:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6


FAILED: list[str] = []


def report(what: str, figure: str, holds: bool = True) -> None:
    print(f"image: {'ok  ' if holds else 'FAIL'} {what}: {figure}", flush=True)
    if not holds:
        FAILED.append(what)


# --- the service under test ---------------------------------------------------------------------------------------


class Browser:
    """A client with cookies that fills in forms."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.opener.addheaders = [("Accept-Language", "pt-BR")]
        self.page = ""
        self.path = "/"

    def get(self, path: str) -> str:
        with self.opener.open(self.address + path, timeout=20) as answer:
            self.page = answer.read().decode()
            self.path = urllib.parse.urlsplit(answer.geturl()).path
        return self.page

    def post(self, path: str, *fields: tuple[str, str]) -> str:
        token = re.search(r'name="(csrf\w*)" value="([^"]+)"', self.page)
        body = urllib.parse.urlencode([*fields, *([(token[1], token[2])] if token else [])]).encode()
        return self._send(path, body, "application/x-www-form-urlencoded")

    def upload(self, path: str, photo: bytes, *fields: tuple[str, str]) -> str:
        """Send the form with a PNG as ``avatar``."""
        token = re.search(r'name="(csrf\w*)" value="([^"]+)"', self.page)
        mark = secrets.token_hex(12)
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in (*fields, *([(token[1], token[2])] if token else []))
        ]
        head = f'--{mark}\r\nContent-Disposition: form-data; name="avatar"; filename="eu.png"\r\n'
        parts += [head.encode(), b"Content-Type: image/png\r\n\r\n", photo, f"\r\n--{mark}--\r\n".encode()]
        return self._send(path, b"".join(parts), f"multipart/form-data; boundary={mark}")

    def _send(self, path: str, body: bytes, kind: str) -> str:
        headers = {"Origin": self.address, "Content-Type": kind}
        request = urllib.request.Request(self.address + path, body, headers)
        with self.opener.open(request, timeout=20) as answer:
            self.page = answer.read().decode()
            self.path = urllib.parse.urlsplit(answer.geturl()).path
        return self.page


def png(side: int = 32) -> bytes:
    """A picture in one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\x00" + b"\x2e\x9e\x5b" * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pieces = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def health(address: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"{address}/api/health", timeout=3) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (urllib.error.URLError, OSError, ValueError, http.client.HTTPException):
        return None


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
        **{name: value for name, value in bases.items() if name != "PYTHON_IMAGE"},
    }
    env_file.with_name("compose.smoke.yaml").write_text(SIMULATOR)
    env_file.touch(mode=0o600)
    env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    try:
        docker.compose("up", "-d", "--no-build", env_file=env_file)
        began = time.monotonic()
        wait_for(lambda: health(address) is not None, 60, "the app")
        wait_for(lambda: state(docker, "app") == "healthy", 60, "the app's health check")
        taken = time.monotonic() - began
        report("healthy after start", f"{taken:.1f} s", taken <= MAX_HEALTHY)
        # "workers" is degraded until the worker's first heartbeat.
        wait_for(lambda: (health(address) or {}).get("status") == "up", 60, "a health of up")
        found = health(address) or {}
        report("health", json.dumps(found.get("checks", {})), found.get("status") == "up")
        browse(address)
        backup(docker, env_file)
        stop_with_stream(docker, env_file, address)
    except RuntimeError:
        print(docker.compose("logs", "--tail", "30", env_file=env_file, check=False)[-6000:])
        raise
    finally:
        docker.compose("down", "-v", env_file=env_file, check=False)
        env_file.unlink(missing_ok=True)


def container(docker: Docker, service: str) -> str:
    filters = [
        "--filter",
        f"label=com.docker.compose.project={PROJECT}",
        "--filter",
        f"label=com.docker.compose.service={service}",
    ]
    return docker("ps", "-aq", *filters).split("\n")[0]


def state(docker: Docker, service: str) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", container(docker, service), check=False)


def browse(address: str) -> None:
    browser = Browser(address)
    with urllib.request.urlopen(f"{address}/version", timeout=5) as answer:
        version = json.load(answer)
    report("version", version["commit"][:12], version["commit"] != "unknown")
    browser.get("/cadastro")
    report("a page in Portuguese", browser.path, 'lang="pt-BR"' in browser.page)
    account = [("name", "Ana"), ("email", "ana@example.com"), ("password", "uma frase bem longa")]
    browser.post("/cadastro", *account)
    report("register and log in", browser.path, "Sair" in browser.page)
    experts = re.findall(r'name="experts" value="(\d+)"', browser.get("/"))
    if not experts:
        report("experts to ask", "none", False)
        return
    question = ("question", "Devo abrir uma segunda padaria no mesmo bairro?")
    browser.post("/conselhos", question, *(("experts", each) for each in experts[:3]))
    place = browser.path

    def finished() -> bool:
        page = browser.get(place)
        return "Síntese pronta" in page or ("Síntese" in page and "aria-busy" not in page)

    taken = wait_for(finished, 60, "the council")
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
        return
    browser.post("/conversas", ("speaker", speaker[1]), ("question", "Vale a pena abrir aos domingos?"))
    chat = browser.path
    taken = wait_for(lambda: "data-events=" not in browser.get(chat), 60, "the chat")
    report("chat", f"{taken:.1f} s", 'class="prose"' in browser.page)


def backup(docker: Docker, env_file: Path) -> None:
    """One backup, verified by a restore; the service's own health check agrees."""
    place = container(docker, "backup")
    done = subprocess.run(
        [docker.program, "exec", place, "python", "-m", "advisory.deploy.backups", "run"],
        env=docker.environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    report("backup dumped and restored", (done.stdout + done.stderr).strip()[-120:], done.returncode == 0)


def stop_with_stream(docker: Docker, env_file: Path, address: str) -> None:
    ended = threading.Event()

    def hold() -> None:
        try:
            with urllib.request.urlopen(f"{address}/api/health/live", timeout=30) as answer:
                answer.read()
        except OSError:
            pass
        ended.set()

    threading.Thread(target=hold, daemon=True).start()
    began = time.monotonic()
    docker.compose("stop", "app", "worker", env_file=env_file)
    taken = time.monotonic() - began
    code = docker("inspect", "--format", "{{.State.ExitCode}}", container(docker, "app"))
    report("stopped", f"{taken:.1f} s, exit code {code}", taken <= MAX_STOP and code in ("0", "143"))


def rollback(docker: Docker) -> None:
    """Swarm's update, as Dokploy runs it: a broken image is rolled back and every poll is answered."""
    if docker("info", "--format", "{{.Swarm.LocalNodeState}}") != "active":
        docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:23771")
        time.sleep(3)  # a new swarm learns of the predefined networks a moment later
    name, port = "advisory-rollback", PORT + 1
    handler = (
        "http.server.HTTPServer(('127.0.0.1',int(os.environ['PORT'])),http.server.SimpleHTTPRequestHandler)"
    )
    serve = f"import http.server,os;{handler}.serve_forever()"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(
            'FROM advisory\nCMD ["python", "-c", "raise SystemExit(3)"]\n'
        )
        docker("build", "-q", "-t", "advisory-broken", folder)
    try:
        docker(
            "service", "create", "-q", "--name", name, "--network", "host", "--env", f"PORT={port}", "--no-healthcheck",
            "--update-order", "start-first", "--update-failure-action", "rollback", "--update-monitor", "5s",
            "--restart-max-attempts", "1", "advisory", "python", "-c", serve, timeout=120,
        )  # fmt: skip
        answered = failed = 0
        stop = threading.Event()

        def poll() -> None:
            nonlocal answered, failed
            while not stop.is_set():
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=3):
                        answered += 1
                except OSError:
                    failed += 1
                time.sleep(0.1)

        wait_for(lambda: port_open(port), 60, "the service")
        poller = threading.Thread(target=poll)
        poller.start()
        began = time.monotonic()
        docker(
            "service",
            "update",
            "-q",
            "--detach",
            "--image",
            "advisory-broken",
            "--args",
            "python -c 'raise SystemExit(3)'",
            name,
            timeout=120,
        )
        wait_for(
            lambda: (
                "rollback_completed"
                in docker("service", "inspect", "--format", "{{.UpdateStatus.State}}", name)
            ),
            120,
            "the rollback",
        )
        stop.set()
        poller.join()
        report(
            "broken image rolled back",
            f"{time.monotonic() - began:.0f} s, {answered} polls answered, {failed} failed",
            not failed,
        )
    finally:
        docker("service", "rm", name, check=False)
        docker("swarm", "leave", "--force", check=False)


def port_open(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
    except OSError:
        return False
    return True


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="noxfile.py image", description=__doc__)
    parser.add_argument("--local-bases", action="store_true", help="make the base images with debootstrap")
    parser.add_argument(
        "--only", choices=("build", "smoke", "rollback"), help="one part, with images built before"
    )
    chosen = parser.parse_args(arguments)
    try:
        with daemon() as docker:
            bases = local_bases(docker) if chosen.local_bases else {}
            if chosen.only in (None, "build"):
                build(docker, bases)
                buildah(docker)
            if chosen.only in (None, "smoke"):
                smoke(docker, bases)
            if chosen.only in (None, "rollback"):
                rollback(docker)
    except Skip as reason:
        print(f"image: skipped: {reason}")
        return 0
    if FAILED:
        print(f"image: failed: {', '.join(FAILED)}")
    return 1 if FAILED else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
