# /// script
# requires-python = ">=3.11"
# ///
"""Every task of the project, and its own bootstrap: ``python3 noxfile.py demo`` works on a bare machine.

Standard library only. The first run makes an environment in ``.prodkit/venv`` (with uv where it is on PATH, else with
venv and pip; both read their usual configuration) and later runs reuse it until ``pyproject.toml`` changes. With nox,
``nox -s demo`` is the same task; with uv, ``uv run noxfile.py -s demo`` is.

    python3 noxfile.py                 lists the tasks
    python3 noxfile.py tests -k cache  passes the rest of the line on
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
HOME = ROOT / ".prodkit"
VENV = HOME / "venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
LOG = HOME / "setup.log"
NEEDED = (3, 11)
SET_UP_LIMIT = 900  # seconds

# The static checks. tests/house runs the same commands, so that `tests` stands for the whole.
CHECKS = {
    "lint": [["ruff", "check", "."], ["ruff", "format", "--check", "."]],
    "types": [["mypy"], ["mypy", "-p", "advisory"], ["pyright"]],
    "layers": [["lint-imports"]],
}
NOT_BENCHMARKS = {"harness"}


class SetUpError(Exception):
    """One line that says what to do."""


# --- the environment ------------------------------------------------------------------------------------------------


def prepare(level: str) -> None:
    """Makes the environment for `level`: "demo" (the app) or "dev" (and what tests and checks need)."""
    if sys.version_info < NEEDED:
        found = ".".join(map(str, sys.version_info[:3]))
        raise SetUpError(
            f"prodkit needs Python 3.11 or newer, this is {found}: run e.g. `python3.12 noxfile.py …`"
        )
    groups = ("advisory", "dev") if level == "dev" else ("advisory",)
    requirements = ["-e", f"{ROOT}[all,testing]", *packages_of(*groups)]
    stamp, wanted = VENV / f"prodkit-{level}.stamp", fingerprint()
    enough = (stamp, VENV / "prodkit-dev.stamp")  # what tests need includes what the app needs
    if PYTHON.exists() and any(each.exists() and each.read_text() == wanted for each in enough):
        return
    HOME.mkdir(exist_ok=True)
    began = time.monotonic()
    say("setting up .prodkit/venv, once (about a minute) …")
    with LOG.open("w") as log:
        if uv := shutil.which("uv"):
            if not PYTHON.exists():
                run_set_up([uv, "venv", "--python", sys.executable, str(VENV)], log)
            run_set_up([uv, "pip", "install", "--python", str(PYTHON), *requirements], log)
        else:
            if not PYTHON.exists():
                make_venv(log)
            pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input"]
            run_set_up([*pip, "install", "--retries", "2", *requirements], log)
    stamp.write_text(wanted)
    say(f"ready after {time.monotonic() - began:.0f} s")


def packages_of(*groups: str) -> list[str]:
    """The requirements of dependency groups of pyproject.toml."""
    import tomllib  # not in Python 3.10, where prepare() has already said what is needed

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [each for group in groups for each in listed[group]]


def fingerprint() -> str:
    seen = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    seen.update(repr((sys.version_info[:2], str(VENV))).encode())
    return seen.hexdigest()


def make_venv(log) -> None:  # type: ignore[no-untyped-def]
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        package = f"python3.{sys.version_info.minor}-venv"
        root_on_debian = shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0
        if not root_on_debian:
            raise SetUpError(
                f"this Python has no venv module: run `sudo apt-get install {package}` (or install uv), then try again"
            )
        say(f"this Python has no venv module: installing {package} with apt-get")
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
        run_set_up([*apt, "update"], log)
        run_set_up([*apt, "install", "-y", "--no-install-recommends", package], log)
    run_set_up([sys.executable, "-m", "venv", str(VENV)], log)


def run_set_up(command: list[str], log) -> None:  # type: ignore[no-untyped-def]
    log.write(f"$ {' '.join(command)}\n")
    log.flush()
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, timeout=SET_UP_LIMIT
        )
    except subprocess.TimeoutExpired:
        raise SetUpError(
            f"setting up took longer than {SET_UP_LIMIT} s and was stopped: see {relative(LOG)}"
        ) from None
    if done.returncode:
        said = LOG.read_text(errors="replace")
        offline = (
            "NewConnectionError",
            "dns error",
            "Could not resolve",
            "Connection refused",
            "Failed to fetch",
        )
        if any(sign in said for sign in offline) or "Temporary failure" in said:
            raise SetUpError(
                "no package index could be reached: check the network, or name a mirror in PIP_INDEX_URL "
                f"(uv: UV_DEFAULT_INDEX); details in {relative(LOG)}"
            )
        raise SetUpError(f"setting up failed: see {relative(LOG)}")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def say(text: str) -> None:
    print(f"prodkit: {text}", flush=True)


# --- the tasks ------------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    paths = [str(ROOT / "examples"), os.environ.get("PYTHONPATH", "")]
    # The tools' own node package and caches stay inside the project's folder.
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PATH": os.pathsep.join((str(PYTHON.parent), os.environ.get("PATH", ""))),
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
    }


def in_venv(program: str, *arguments: str) -> None:
    code = subprocess.run([str(PYTHON.parent / program), *arguments], cwd=ROOT, env=environment()).returncode
    if code:
        raise SystemExit(code)


def demo(rest: list[str]) -> None:
    """Runs the reference app on its embedded default and prints its address."""
    prepare("demo")
    os.chdir(ROOT)
    # exec: the app itself gets Ctrl-C and SIGTERM, with nobody in between.
    os.execve(PYTHON, [str(PYTHON), "-m", "advisory", "demo", *rest], environment())


def tests(rest: list[str]) -> None:
    """Runs every test: unit, integration, browser, examples, documents, static checks."""
    prepare("dev")
    in_venv("pytest", *rest)


def check(name: str) -> None:
    prepare("dev")
    for command in CHECKS[name]:
        in_venv(*command)


def lint(rest: list[str]) -> None:
    """Checks style and format with ruff."""
    check("lint")


def types(rest: list[str]) -> None:
    """Checks types with mypy --strict and pyright."""
    check("types")


def layers(rest: list[str]) -> None:
    """Proves the order of the folders with import-linter."""
    check("layers")


def docs(rest: list[str]) -> None:
    """Executes every Python block of README and docs."""
    prepare("dev")
    in_venv("pytest", "tests/docs/test_blocks.py", *rest)


def examples(rest: list[str]) -> None:
    """Runs every numbered example."""
    prepare("dev")
    in_venv("pytest", "tests/docs/test_examples.py", *rest)


def benchmarks() -> list[str]:
    """The runnable modules of benchmarks/: those that end in a main block."""
    return [
        path.stem
        for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))
        if path.stem not in NOT_BENCHMARKS and "__main__" in path.read_text()
    ]


def bench(rest: list[str]) -> None:
    """Runs the benchmarks (all, or those named) and prints ratios; with --peers, beside the peers."""
    prepare("dev")
    python = PYTHON
    if "--peers" in rest:
        python = peers()
    options = [each for each in rest if each.startswith("-") and each != "--peers"]
    names = [each for each in rest if not each.startswith("-")] or benchmarks()
    times: list[float] = []
    failed: list[str] = []
    for number, name in enumerate(names, 1):
        left = (
            f", about {sum(times) / len(times) * (len(names) - number + 1) / 60:.0f} min left"
            if times
            else ""
        )
        say(f"benchmark {number} of {len(names)}: {name}{left}")
        began = time.monotonic()
        command = [str(python), "-m", f"benchmarks.{name}", *options]
        if subprocess.run(command, cwd=ROOT, env=environment()).returncode:
            failed.append(name)
        times.append(time.monotonic() - began)
    if failed:
        say(f"goals missed or not measured: {', '.join(failed)}")
        raise SystemExit(1)


def peers() -> Path:
    """The interpreter of an environment that holds prodkit and what it is compared with."""
    venv, wanted = HOME / "peers", ROOT / "benchmarks" / "peers.txt"
    python = venv / PYTHON.relative_to(VENV)
    with LOG.open("w") as log:
        if not python.exists():
            run_set_up([str(PYTHON), "-m", "virtualenv", "-q", str(venv)], log)
        run_set_up(
            [str(python), "-m", "pip", "install", "-q", "-e", f"{ROOT}[all,testing]", "-r", str(wanted)], log
        )
    return python


def package(rest: list[str]) -> None:
    """Builds the wheel, installs it into an environment of its own and uses it there."""
    prepare("dev")
    in_venv("pytest", "tests/house/test_package.py", *rest)


def release(rest: list[str]) -> None:
    """Builds wheel, sdist, SBOM and checksums of this commit into .prodkit/dist (needs uv)."""
    prepare("dev")
    in_venv("python", "tools/release.py", *rest)


def versions(rest: list[str]) -> None:
    """Runs the unit tests on each Python from 3.11 to 3.14 that is installed, or that uv can fetch (or those named)."""
    prepare("dev")
    in_venv("python", "tools/versions.py", *rest)


def site(rest: list[str]) -> None:
    """Builds the documentation site into .prodkit/site/html (or serves it: `site serve`)."""
    prepare("dev")
    in_venv("python", "tools/site.py", *rest)


def screenshots(rest: list[str]) -> None:
    """Photographs the reference app's pages into docs/screenshots (all, or those named; needs Chromium)."""
    prepare("dev")
    in_venv("python", "tools/screenshots.py", *rest)


def lowest(rest: list[str]) -> None:
    """Runs the unit tests with the lowest versions that pyproject.toml allows (needs uv)."""
    prepare("dev")
    uv = shutil.which("uv") or str(PYTHON.parent / "uv")
    venv = HOME / "lowest"
    python = venv / PYTHON.relative_to(VENV)
    with LOG.open("w") as log:
        if not python.exists():
            run_set_up([uv, "venv", "--python", sys.executable, str(venv)], log)
        direct = [uv, "pip", "install", "--python", str(python), "--resolution", "lowest-direct"]
        tools = ["pytest-timeout>=2.3", "pyyaml>=6.0.2", "ruff>=0.9", "uvicorn>=0.30"]
        tools += ["fastapi>=0.115.7", "litestar>=2.12", "detect-secrets>=1.5"]
        run_set_up([*direct, "-e", f"{ROOT}[all,testing]", *tools], log)
    paths = rest or [str(path) for path in unit_tests()]
    # Old releases use what their own dependencies have since deprecated; that is not a fault of ours.
    command = [str(python), "-m", "pytest", "-q", "-W", "ignore::DeprecationWarning", *paths]
    code = subprocess.run(command, cwd=ROOT, env=environment()).returncode
    if code:
        raise SystemExit(code)


def unit_tests() -> list[Path]:
    """The folders of tests that need no development tool and no server."""
    packages = {path.name for path in (ROOT / "src" / "prodkit").iterdir()}
    return sorted(path for path in (ROOT / "tests").iterdir() if path.name in packages)


def image(rest: list[str]) -> None:
    """Builds the app's image, runs it with compose and tries it (needs Docker; --local-bases: no registry)."""
    code = subprocess.run([sys.executable, str(ROOT / "tools" / "image.py"), *rest], cwd=ROOT).returncode
    if code:
        raise SystemExit(code)


def fresh(rest: list[str]) -> None:
    """Runs both commands of README in minimal Debian 12 and 13 chroots (needs root and debootstrap)."""
    code = subprocess.run([sys.executable, str(ROOT / "tools" / "fresh.py"), *rest], cwd=ROOT).returncode
    if code:
        raise SystemExit(code)


def full(rest: list[str]) -> None:
    """Runs what is too long for every change: fresh machines, lowest versions, fuzzing, mutants, peers' own suites.

    Checkouts of tenacity, pybreaker and aiobreaker are given as ``tenacity=PATH``.
    """
    for task in (tests, lowest, versions, extras, fuzz, mutants, fresh, image):
        say(f"full: {task.__name__}")
        task([])
    suites(rest)


def mutants(rest: list[str]) -> None:
    """Runs mutation tests of the pure modules of the policies (all, or those named), with progress."""
    prepare("dev")
    in_venv("python", "tools/mutants.py", *rest)


def suites(rest: list[str]) -> None:
    """Runs the own test suites of peers through the facades: ``suites tenacity=PATH pybreaker=PATH``."""
    prepare("dev")
    for each in rest:
        library, _, checkout = each.partition("=")
        say(f"suite of {library}")
        in_venv("python", "tools/peer_suites.py", library, checkout)


def extras(rest: list[str]) -> None:
    """Installs the wheel with each extra alone and runs something of it (needs uv)."""
    prepare("dev")
    in_venv("python", "tools/extras.py", *rest)


def fuzz(rest: list[str]) -> None:
    """Fuzzes the parsers of files for SECONDS each (60 by default)."""
    prepare("dev")
    in_venv("python", "tests/fuzz/fuzz_walkers.py", "all", *(rest or ["60"]))


def live(rest: list[str]) -> None:
    """Asks the real Messages API when ANTHROPIC_API_KEY is set: cuts its own stream, checks joint and usage."""
    prepare("dev")
    in_venv("pytest", "tests/live", "-q", *rest)


def corpus(rest: list[str]) -> None:
    """Scores folders of your own files: what the upload check accepts, rewrites and refuses, and why (DIR...)."""
    prepare("demo")
    in_venv("python", "-m", "prodkit.testing.uploads", *rest)


TASKS = {
    each.__name__: each
    for each in (
        demo,
        tests,
        lint,
        types,
        layers,
        docs,
        examples,
        bench,
        package,
        release,
        versions,
        site,
        screenshots,
        lowest,
        extras,
        fuzz,
        live,
        corpus,
        image,
        fresh,
        mutants,
        suites,
        full,
    )
}


def main(arguments: list[str]) -> int:
    if arguments[:1] in (["-s"], ["--session"]):  # as nox spells it
        arguments = arguments[1:]
    if not arguments or arguments[0] not in TASKS:
        width = max(map(len, TASKS))
        listing = "\n".join(f"  {name:<{width}}  {task.__doc__}" for name, task in TASKS.items())
        print(f"usage: python3 noxfile.py TASK [ARGUMENT …]\n\n{listing}")
        return 0 if not arguments or arguments[0] in ("-l", "-h", "--help") else 2
    rest = arguments[1:]
    try:
        TASKS[arguments[0]](rest[1:] if rest[:1] == ["--"] else rest)
    except SetUpError as problem:
        print(f"prodkit: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

try:
    import nox
except ImportError:
    pass
else:

    def _register(name, task) -> None:  # type: ignore[no-untyped-def]
        def session(session) -> None:  # type: ignore[no-untyped-def]
            try:
                task(list(session.posargs))
            except SetUpError as problem:
                session.error(str(problem))
            except SystemExit as stop:
                session.error(f"failed with exit code {stop.code}")

        session.__doc__ = task.__doc__
        nox.session(session, name=name, venv_backend="none")

    nox.options.sessions = ["tests"]
    for _name, _task in TASKS.items():
        _register(_name, _task)
