"""Install the wheel with each extra alone and run something of it: `python3 noxfile.py extras [NAME …]`.

Each extra gets an environment of its own in `.prodkit/extras` that holds the wheel and nothing of the source tree.
Needs uv. A module that quietly needs the package of another extra fails here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".prodkit" / "extras"

BASE = """
import asyncio, prodkit as pk
from prodkit import cache, env, progress, ratelimit, sessions
from prodkit.redis import RedisLink

class Settings(env.Settings):
    port: int = 8000

assert Settings.load({}).port == 8000

async def main():
    redis = RedisLink(None)
    answers = cache.Cache(redis, namespace="x")
    async def load(): return 1
    async with pk.running(answers):
        assert await answers.get_or_set("k", load, ttl=60) == 1
    limiter = ratelimit.RateLimiter(redis)
    assert (await limiter.check((ratelimit.Limit("1/hour", name="x"), "u"))).allowed
    async def call(): return 42
    assert await pk.Pipeline(pk.Retry(attempts=2), pk.CircuitBreaker("x"), pk.Timeout(1)).run(call) == 42
    assert (await pk.Health(redis).report()).status in ("up", "degraded")
asyncio.run(main())
"""

PROGRAMS: dict[str, str] = {
    "": BASE,
    "postgres": "from prodkit import postgres; postgres.Pool('postgresql://u:p@127.0.0.1:1/x')",
    "sessions": """
import asyncio
from prodkit.sessions import Passwords
async def main():
    passwords = Passwords()
    assert await passwords.verify(await passwords.hash("a long enough one"), "a long enough one")
    passwords.close()
asyncio.run(main())
""",
    "redis": "from prodkit.redis import RedisLink; RedisLink('redis://127.0.0.1:1/0')",
    "llm": "from prodkit import llm; llm.Client('sk-x', models=('claude-sonnet-5-5',))",
    "http": "import httpx; from prodkit.http import ResilientTransport; ResilientTransport",
    "files": """
import asyncio, io
from PIL import Image
from prodkit import files
async def main():
    out = io.BytesIO(); Image.new("RGB", (8, 8)).save(out, "PNG")
    async with files.Validator(files.ImagePolicy(max_bytes=2**20)) as validator:
        clean = await validator.check(out.getvalue(), filename="a.png", declared_type="image/png")
    assert (clean.width, clean.media_type) == (8, "image/png")
asyncio.run(main())
""",
    "heic": "import pillow_heif; from prodkit import files; files.ImagePolicy(formats={'heic'})",
    "pdf": "import pikepdf; from prodkit import files; files.Validator(files.PdfPolicy(), on_damage='rewrite')",
    "web": """
from starlette.applications import Starlette
import prodkit as pk
from prodkit import web
from prodkit.redis import RedisLink
app = Starlette(routes=web.health_routes(pk.Health(RedisLink(None))))
web.install(app)
""",
    "logs": """
import io
from prodkit import logs
out = io.StringIO()
with logs.setup(environment="production", stream=out):
    from loguru import logger
    logger.info("ready password=hunter2-hunter2")
assert "hunter2-hunter2" not in out.getvalue() and "ready" in out.getvalue()
""",
    "jobs": """
import asyncio
from prodkit import jobs
@jobs.job
async def add(a: int, b: int) -> int: return await jobs.step("sum", plus, a, b)
def plus(a: int, b: int) -> int: return a + b
async def main():
    engine = jobs.MemoryEngine()
    run = await add.enqueue(engine, 1, 2)
    async with jobs.Worker(engine, [add]):
        assert await jobs.Runs(engine).result(run.id, timeout=20) == 3
    assert "pgqueuer" in jobs.pgqueuer_schema()
    jobs.Cron("0 3 * * *").around(0.0)
asyncio.run(main())
""",
    "backup": "from prodkit import backup; backup.dump; backup.verify; backup.restore; backup.prune",
    "cli": "from prodkit import cli; assert cli.main(['--help']) == 0; assert cli.main(['doctor', '--help']) == 0",
    "telemetry": """
import asyncio
from prometheus_client import CollectorRegistry
import prodkit as pk
from prodkit import telemetry
from prodkit.telemetry import opentelemetry, sentry
rt = pk.Runtime()
exporter = telemetry.prometheus.install(runtime=rt, registry=CollectorRegistry())
breaker = pk.CircuitBreaker("x", failures=1, open_for=30, runtime=rt)
async def fail(): raise OSError
async def main():
    for _ in range(2):
        try: await breaker.run(fail)
        except (OSError, pk.CircuitOpenError): pass
asyncio.run(main())
assert 'prodkit_breaker_transitions_total{after="open",breaker="x"} 1.0' in exporter.text().decode()
""",
    "testing": """
from prodkit.testing.servers import Postgres, Redis
with Postgres() as db, Redis() as redis:
    assert db.running and redis.running
""",
}


def main(names: list[str]) -> int:
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["project"]["optional-dependencies"]
    if missing := set(listed) - {"all"} - set(PROGRAMS):
        print(f"extras: no program for {', '.join(sorted(missing))}")
        return 1
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (wheel,) = Path(folder).glob("*.whl")
        for extra in names or list(PROGRAMS):
            venv = HOME / (extra or "base")
            shutil.rmtree(venv, ignore_errors=True)
            python = venv / "bin" / "python"
            quiet = {**os.environ, "PYTHONPATH": ""}
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True, env=quiet)
            wanted = f"{wheel}[{extra}]" if extra else str(wheel)
            subprocess.run(
                [uv, "pip", "install", "-q", "--python", str(python), wanted], check=True, env=quiet
            )
            done = subprocess.run(
                [str(python), "-W", "error::ImportWarning", "-c", PROGRAMS[extra]],
                cwd=folder,
                env=quiet,
                capture_output=True,
                text=True,
                timeout=120,
            )
            print(f"extras: {'ok  ' if done.returncode == 0 else 'FAIL'} {extra or 'base'}", flush=True)
            if done.returncode:
                print(done.stdout[-1000:] + done.stderr[-3000:])
                failed.append(extra or "base")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
