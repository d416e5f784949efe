from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prodkit import env
from prodkit.cli import main

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "DATABASE_URL": "postgresql://ana:hunter2@db.example/shop",
    "SESSION_SECRET": "0b5f1c2e9d7a48f3b6c1d0e9f8a7b6c5",
}


class Shop(env.Settings):
    environment: env.Environment = "development"
    database_url: env.PostgresUrl
    session_secret: env.Secret = env.secret(min_length=32, description="Signs cookies.")


TARGET = f"{__name__}:Shop"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[Shop.__module__])
    for name in ("ENVIRONMENT", *GOOD):
        monkeypatch.delenv(name, raising=False)


def test_check_names_every_problem_and_exits_with_78(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["SESSION_SECRET"] = "hunter2"
    try:
        assert main(["env", "check", TARGET]) == 78
    finally:
        del os.environ["SESSION_SECRET"]
    said = capsys.readouterr()
    assert "DATABASE_URL is required" in said.err
    assert "SESSION_SECRET is too short" in said.err
    assert "hunter2" not in said.err + said.out


def test_check_shows_where_values_come_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f'# made up\nDATABASE_URL="{GOOD["DATABASE_URL"]}"\n')
    monkeypatch.setenv("SESSION_SECRET", f"'{GOOD['SESSION_SECRET']}'")
    assert main(["env", "check", TARGET, "--dotenv", str(dotenv)]) == 0
    said = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1] for line in said.splitlines() if line.strip()}
    assert lines["DATABASE_URL"] == ".env:2"
    assert lines["ENVIRONMENT"] == "default"
    assert "SESSION_SECRET stood in quotes" in said
    assert "hunter2" not in said


def test_documents_are_written_and_checked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, example = tmp_path / "ENV_VARIABLES.md", tmp_path / ".env.example"
    assert main(["env", "docs", TARGET, "-o", str(page), "--check"]) == 1
    assert main(["env", "docs", TARGET, "-o", str(page), "--language", "pt-BR"]) == 0
    assert main(["env", "example", TARGET, "-o", str(example)]) == 0
    assert main(["env", "docs", TARGET, "-o", str(page), "--language", "pt-BR", "--check"]) == 0
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    both = ["--docs", str(page), "--example", str(example)]
    assert main(["env", "check", TARGET, *both]) == 0
    page.write_text(page.read_text().replace("SESSION_SECRET", "SESSION_KEY"))
    assert main(["env", "check", TARGET, *both]) == 1
    assert "-| `SESSION_KEY`" in capsys.readouterr().err
    assert main(["env", "schema", TARGET]) == 0
    assert json.loads(capsys.readouterr().out)["required"] == ["DATABASE_URL", "SESSION_SECRET"]


@pytest.mark.parametrize("target", ["nothing", "no.such.module:Shop", f"{__name__}:GOOD", f"{__name__}:Nope"])
def test_a_wrong_target_is_wrong_usage(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "check", target]) == 2
    assert "prodkit env:" in capsys.readouterr().err


def test_the_reference_app_documents_match_its_settings() -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT / "examples")))}
    for command, name in (("docs", "ENV_VARIABLES.md"), ("example", ".env.example")):
        words = [
            command,
            "advisory.settings:Settings",
            "-o",
            str(ROOT / "examples/advisory" / name),
            "--check",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "prodkit", "env", *words],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for modules that are imported by name and forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("API_KEY", raising=False)
    yield tmp_path
    for name in ("svc_loads", "svc_broken"):
        sys.modules.pop(name, None)


def test_a_module_that_loads_its_settings_at_import_is_checked_too(
    service: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (service / "svc_loads.py").write_text(
        "from prodkit import env\n\n\nclass Settings(env.Settings):\n    api_key: env.Secret\n\n\n"
        "settings = Settings.load()\n"
    )
    (service / ".env").write_text("API_KEY=a-real-key-19\n")
    assert main(["env", "check", "svc_loads:Settings"]) == 78
    assert "API_KEY is required" in capsys.readouterr().err
    assert main(["env", "docs", "svc_loads:Settings"]) == 0
    assert main(["env", "check", "svc_loads:Settings", "--dotenv", str(service / ".env")]) == 0


def test_a_module_that_breaks_before_its_class_is_wrong_usage(
    service: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (service / "svc_broken.py").write_text("hunter2 = {}\nhunter2['hunter2']\n")
    assert main(["env", "check", "svc_broken:Settings"]) == 2
    said = capsys.readouterr().err
    assert "it raised KeyError" in said
    assert "hunter2" not in said
