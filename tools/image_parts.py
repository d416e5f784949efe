"""What the image's trial is made of: the docker command, a daemon of its own, a visitor, the report."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import shutil
import struct
import subprocess
import tempfile
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


def inside(docker: Docker, service: str, *command: str, timeout: float = 180) -> tuple[int, str]:
    """Run a command in a service's container; return its exit code and what it said."""
    done = subprocess.run(
        [docker.program, "exec", container(docker, service), *command],
        env=docker.environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return done.returncode, (done.stdout + done.stderr).strip()
