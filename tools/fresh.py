"""Run the commands of README on minimal Debian systems: `noxfile.py fresh [bookworm trixie] [--only first,new]`.

Each suite is a debootstrap chroot that holds python3, git and ca-certificates, nothing else. The base system is kept in
`.prodkit/fresh` and copied for every run. Needs root and debootstrap; the package index is reached through the pip and
proxy variables of this process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".prodkit" / "fresh"
MIRROR = os.environ.get("DEBIAN_MIRROR", "")  # debootstrap knows a default
PACKAGES = "python3,git,ca-certificates"
KEPT = ("PIP_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
LIMIT = 3600  # seconds for the tests of one suite
DEMO_LIMIT = 180
STEP_LIMIT = 120  # seconds for a newcomer's step, its set-up included


def main(arguments: list[str]) -> int:
    suites, only = arguments, list(TRIALS)
    if "--only" in arguments:
        place = arguments.index("--only")
        only = arguments[place + 1].split(",")
        suites = arguments[:place] + arguments[place + 2 :]
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        print("fresh: skipped, it needs root and debootstrap (apt-get install debootstrap)")
        return 0
    return max(trial(suite, only) for suite in suites or ["bookworm", "trixie"])


def trial(suite: str, only: list[str]) -> int:
    root = HOME / suite
    base = HOME / f"{suite}.base"
    if not base.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        draft = HOME / f"{suite}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--include={PACKAGES}",
            suite,
            str(draft),
            *filter(None, (MIRROR,)),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        draft.rename(base)
    unmount(root)
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
    for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), root / name)
    subprocess.run(["git", "clone", "-q", str(ROOT), str(root / "src")], check=True)
    for source, kind in (("proc", ["-t", "proc"]), ("/dev", ["--rbind"])):
        target = root / Path(source).name
        subprocess.run(["mount", *kind, source, str(target)], check=True)
    try:
        return max([TRIALS[name](root, suite) for name in only])
    finally:
        unmount(root)


def unmount(root: Path) -> None:
    for name in ("dev", "proc"):
        if os.path.ismount(root / name):
            subprocess.run(["umount", "-R", "-l", str(root / name)], check=True)


def inside(root: Path, *command: str) -> list[str]:
    kept = [f"{name}={value}" for name, value in os.environ.items() if name.startswith(KEPT)]
    system = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "LANG=C.UTF-8",
    ]
    words = ["sh", "-c", f"cd /src && {' '.join(command)}"]
    return ["chroot", str(root), "/usr/bin/env", "-i", *system, *kept, *words]


def tests(root: Path, suite: str) -> int:
    began = time.monotonic()
    done = subprocess.run(
        inside(root, "python3", "noxfile.py", "tests", "-q"), timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    print(
        f"fresh: {suite}: tests exited with {done.returncode} after {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return done.returncode


def demo(root: Path, suite: str) -> int:
    """Start the demo and wait until its health report is "up", which needs a real Redis or Valkey and a worker."""
    port, began, status = 8197, time.monotonic(), ""
    process = subprocess.Popen(
        inside(root, "python3", "noxfile.py", "demo", "--port", str(port)), start_new_session=True
    )
    try:
        while time.monotonic() - began < DEMO_LIMIT and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as answer:
                    report = json.load(answer)
            except (urllib.error.URLError, OSError, ValueError):
                time.sleep(0.5)
                continue
            taken = time.monotonic() - began
            if report["status"] != status:
                status = report["status"]
                print(f"fresh: {suite}: demo {status} after {taken:.1f} s", flush=True)
            if status == "up":
                return 0
            time.sleep(0.5)
        print(f"fresh: {suite}: the demo was not up within {DEMO_LIMIT} s")
        return 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def first(root: Path, suite: str) -> int:
    """Install into a new environment and run the first guarded call of the tutorial, copied; 120 s."""
    page = (ROOT / "docs" / "tutorial" / "2-guard-a-call.md").read_text()
    (root / "tmp" / "first.py").write_text(page.split("```python\n", 1)[1].split("```", 1)[0])
    began = time.monotonic()
    steps = [
        "python3 -m venv /tmp/own",
        "/tmp/own/bin/pip install -q /src",
        "/tmp/own/bin/python /tmp/first.py",
    ]
    code = subprocess.run(inside(root, " && ".join(steps)), stdin=subprocess.DEVNULL, timeout=600).returncode
    taken = time.monotonic() - began
    print(f"fresh: {suite}: the first guarded call exited with {code} after {taken:.0f} s", flush=True)
    return code or int(taken > STEP_LIMIT)


def new(root: Path, suite: str) -> int:
    """Write a service with ``prodkit new`` and run its two commands; each may take 120 s."""
    subprocess.run(
        inside(root, "python3", "noxfile.py", "demo", "--help"), check=True, stdout=subprocess.DEVNULL
    )
    made = inside(root, ".prodkit/venv/bin/python", "-m", "prodkit", "new", "/tmp/shop", "--jobs", "--llm")
    subprocess.run(made, check=True)
    began = time.monotonic()
    done = subprocess.run(
        inside(root, "cd", "/tmp/shop", "&&", "python3", "noxfile.py", "tests", "-q"), timeout=600
    )
    taken = time.monotonic() - began
    print(
        f"fresh: {suite}: a new service's tests exited with {done.returncode} after {taken:.0f} s", flush=True
    )
    if done.returncode or taken > STEP_LIMIT:
        return done.returncode or 1
    began = time.monotonic()
    process = subprocess.Popen(
        inside(root, "cd", "/tmp/shop", "&&", "PORT=8198", "python3", "noxfile.py", "run"),
        start_new_session=True,
    )
    try:
        while time.monotonic() - began < DEMO_LIMIT and process.poll() is None:
            try:
                with urllib.request.urlopen("http://127.0.0.1:8198/api/health", timeout=5) as answer:
                    status = json.load(answer)["status"]
            except (urllib.error.URLError, OSError, ValueError):
                time.sleep(0.2)
                continue
            taken = time.monotonic() - began
            print(f"fresh: {suite}: the new service answered after {taken:.1f} s: {status}", flush=True)
            return 0 if status == "up" else 1
        print(f"fresh: {suite}: the new service did not answer")
        return 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


TRIALS = {each.__name__: each for each in (demo, first, new, tests)}  # the short ones first

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
