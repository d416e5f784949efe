"""Build the image of the reference app and try it for real: `python3 noxfile.py image`.

Builds with Docker's BuildKit (and with buildah where it is installed), starts compose, checks it as a user would,
stops it with a stream open, updates to a broken image and watches the rollback, and reports sizes and times.

Needs a Docker daemon, or root and Debian's docker.io and docker-compose, from which it starts a daemon of its own in
`.prodkit/image`. Where no image registry can be reached, the base images are made with debootstrap (`--local-bases`).
Skipped with the reason where neither is there. Nothing is installed on the machine.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from image_parts import DEPLOY, FAILED, HOME, PORT, ROOT, Docker, Skip, daemon, report, wait_for
from image_smoke import smoke

BASE = "prodkit-local/python"
MAX_ABOVE_BASE = 120  # MB

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
    secret = secrets.token_hex(24)
    # Where an operator keeps them; the image must not.
    planted = [each for each in (ROOT / ".env", DEPLOY / ".env") if not each.exists()]
    for each in planted:
        each.touch(mode=0o600)
        each.write_text(f"SESSION_SECRET={secret}\n")
    try:
        build_targets(docker, arguments)
    finally:
        for each in planted:
            each.unlink()
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
    layers = layers_with(docker, "advisory-backup", secret.encode())
    report("a secret of .env in the layers", layers or "in none", not layers)


def build_targets(docker: Docker, arguments: list[str]) -> None:
    for target, tag in (("app", "advisory"), ("backup", "advisory-backup")):
        began = time.monotonic()
        docker(
            "build", "--network", "host", "-q", "-f", str(DEPLOY / "Dockerfile"), "--target", target, *arguments,
            "-t", tag, str(ROOT),
        )  # fmt: skip
        report(f"{tag} built with BuildKit", f"{time.monotonic() - began:.0f} s")


def layers_with(docker: Docker, image: str, wanted: bytes) -> str:
    """Where `wanted` lies in the layers and the history of an image: nothing, or a word."""
    saved = subprocess.Popen([docker.program, "save", image], env=docker.environment, stdout=subprocess.PIPE)
    assert saved.stdout is not None
    found, kept = "", b""
    while piece := saved.stdout.read(1 << 20):
        if wanted in kept + piece:
            found = "found"
        kept = piece[-len(wanted) :]
    if saved.wait():
        raise RuntimeError(f"docker save {image} failed")
    return found


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
