"""A new service passes its own tests and checks, in every variant."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from prodkit import cli
from prodkit.cli.new import _TAKEN, TEMPLATES, create, requirement

SOURCE = str(Path(__file__).parents[2] / "src")
BIN = Path(sys.executable).parent
VARIANTS = [
    ("db", "redis"),
    (),
    ("db",),
    ("redis",),
    ("llm",),
    ("db", "redis", "llm"),
    ("jobs",),
    ("redis", "llm", "jobs"),
]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((SOURCE, str(folder / "src")))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.mark.parametrize("features", VARIANTS, ids="+".join)
def test_every_variant_is_clean(tmp_path: Path, features: tuple[str, ...]) -> None:
    folder = tmp_path / "corner-shop"
    files = create(folder, features)
    for path in files:
        text = path.read_text()
        assert "{{" not in text, path
        assert not re.search(r"[#-] \[/?!?(db|redis|llm|jobs)\]", text), path
    done = run(folder, "ruff", "check", ".")
    assert done.returncode == 0, done.stdout
    done = run(folder, "ruff", "format", "--check", ".")
    assert done.returncode == 0, done.stdout
    yaml.safe_load((folder / "compose.yaml").read_text())
    for path in folder.rglob("*.py"):
        compile(path.read_text(), str(path), "exec")


@pytest.mark.integration
@pytest.mark.parametrize("features", [("db", "redis"), (), ("redis", "llm", "jobs"), ("jobs",)], ids="+".join)
def test_its_own_tests_pass(tmp_path: Path, features: tuple[str, ...]) -> None:
    folder = tmp_path / "corner-shop"
    create(folder, features)
    done = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_environment_of_the_new_service_is_checked(tmp_path: Path) -> None:
    folder = tmp_path / "corner_shop"
    create(folder)
    environment = {"PYTHONPATH": os.pathsep.join((SOURCE, str(folder / "src"))), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "corner_shop"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 78
    assert "DATABASE_URL" in done.stderr


def test_names_and_folders_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    for name in ("2fast", "class", "prodkit", "a/b c!", "json", "redis", "fastapi"):
        assert cli.main(["new", str(tmp_path / name)]) == 2
    assert cli.main(["new", str(taken)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    with pytest.raises(ValueError, match="unknown features: mongo"):
        create(tmp_path / "x", ["mongo"])


@pytest.mark.integration
def test_a_worker_of_its_own_takes_jobs_and_leaves_on_sigterm(tmp_path: Path, postgres_url: str) -> None:
    folder = tmp_path / "corner-shop"
    create(folder, {"jobs"})
    paths = os.pathsep.join((SOURCE, str(folder / "src")))
    environment = {**os.environ, "PYTHONPATH": paths, "DATABASE_URL": postgres_url, "ENVIRONMENT": "test"}
    worker = subprocess.Popen([sys.executable, "-m", "corner_shop", "worker"], env=environment)
    try:
        program = """
import asyncio
from corner_shop.work import index_note
from prodkit import jobs, postgres

async def main():
    async with postgres.Pool(URL) as db:
        await jobs.install(db)
        await db.execute("create table note (id bigserial primary key, body text not null, words int)")
        await db.execute("insert into note (body) values ('a b')")
        run = await index_note.enqueue(db, 1, "a b")
        assert await jobs.Runs(db).result(run.id, timeout=30) == 2
        assert await db.fetchval("select words from note") == 2

asyncio.run(main())
""".replace("URL", repr(postgres_url))
        done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=60)
        assert done.returncode == 0
        worker.terminate()
        assert worker.wait(20) == 0
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def test_the_command_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new", str(tmp_path / "shop"), "--minimal"]) == 0
    assert "python3 noxfile.py tests" in capsys.readouterr().out
    assert (tmp_path / "shop" / ".gitignore").exists()


def test_the_requirement_names_the_distribution_and_the_extras() -> None:
    assert requirement({"db"}).startswith("prodkit-resilience[cli,http,logs,postgres,web]")


def test_a_name_that_hides_an_import_of_the_kit_or_of_the_service_is_taken() -> None:
    imported = {
        word.partition(".")[0].lower()
        for path in Path(SOURCE).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for word in (
            [node.module or "prodkit"]
            if isinstance(node, ast.ImportFrom)
            else [each.name for each in node.names]
        )
    }
    for path in TEMPLATES.rglob("*.tmpl"):
        imported.update(re.findall(r"^\s*(?:from|import) ([a-z_0-9]+)", path.read_text(), re.MULTILINE))
    assert imported - {"__future__"} <= _TAKEN | sys.stdlib_module_names
