"""The doctor in working and broken environments, on real servers."""

import json
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prodkit import cli
from prodkit.cli.doctor import Finding, diagnose
from prodkit.testing.servers import Postgres, Redis

SECRET = "s3cr3t-w0rd"


def found(findings: list[Finding], name: str) -> Finding:
    return next(each for each in findings if each.name == name)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


def test_working_services_are_ok(postgres: Postgres, redis: Redis) -> None:
    findings = diagnose("", {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url})
    assert found(findings, "postgres").status == "ok"
    assert "connections" in found(findings, "postgres").message
    assert found(findings, "redis").status == "ok"
    assert not [each for each in findings if each.status == "problem"]


def test_services_that_are_not_configured_say_what_runs_degraded() -> None:
    findings = diagnose("", {})
    assert found(findings, "redis").status == "skipped"
    assert "in memory" in found(findings, "redis").message


def test_a_wrong_password_is_named_and_not_shown(postgres: Postgres, redis: Redis) -> None:
    bad = {
        "DATABASE_URL": f"postgresql://postgres:{SECRET}@127.0.0.1:{postgres.port}/postgres",
        "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:{redis.port}/0",
    }
    findings = diagnose("", bad)
    for name in ("postgres", "redis"):
        assert found(findings, name).status == "problem"
        assert "password is wrong" in found(findings, name).message
    assert SECRET not in repr(findings)


def test_a_closed_port_and_an_unknown_host_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    findings = diagnose("", {"DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:{port}/x"})
    assert "nothing listens there" in found(findings, "postgres").message
    findings = diagnose("", {"REDIS_URL": "redis://no-such-host.invalid/0"})
    assert "host name is unknown" in found(findings, "redis").message


@pytest.mark.parametrize(
    ("database", "cache", "words"),
    [
        ("mysql://u:s3cr3t-w0rd@h/x", f"http://:{SECRET}@h", "must begin with"),
        (f"postgresql://u:{SECRET}@h:99999/x", f"redis://:{SECRET}@h:abc", "port"),
    ],
)
def test_a_malformed_url_is_a_problem_in_words(database: str, cache: str, words: str) -> None:
    findings = diagnose("", {"DATABASE_URL": database, "REDIS_URL": cache})
    for name in ("postgres", "redis"):
        assert found(findings, name).status == "problem"
        assert words in found(findings, name).message
    assert SECRET not in repr(findings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Other: pass", "is not a subclass"),
        ("Other = 3", "is not a subclass"),
        (f"raise RuntimeError('{SECRET}')", "raises RuntimeError"),
    ],
)
def test_a_module_that_holds_no_settings_is_wrong_usage(
    text: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = f"service_{abs(hash(text))}"
    (tmp_path / f"{module}.py").write_text(text)
    assert cli.main(["doctor", f"{module}:Other"]) == 2
    sys.modules.pop(module, None)
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert words in said
    assert SECRET not in said


def test_a_missing_database_is_named(postgres: Postgres) -> None:
    findings = diagnose("", {"DATABASE_URL": postgres.database_url("nowhere")})
    assert "database does not exist" in found(findings, "postgres").message


def test_a_silent_service_is_a_problem_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prodkit.cli.doctor_services._TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        findings = diagnose("", {"REDIS_URL": f"redis://127.0.0.1:{silent.getsockname()[1]}/0"})
    assert "no answer" in found(findings, "redis").message


def test_few_open_files_are_a_warning() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        finding = found(diagnose("", {}), "open files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert finding.status == "warning"
    assert "ulimit" in finding.hint


def test_the_namesake_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "prodkit-0.4.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: prodkit\nVersion: 0.4.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    finding = found(diagnose("", {}), "namesake")
    assert finding.status == "problem"
    assert "pip uninstall prodkit" in finding.hint


SETTINGS = """
from prodkit import env


class Settings(env.Settings):
    database_url: env.PostgresUrl
    queue_url: env.RedisUrl | None = None
    session_secret: env.Secret = env.secret(min_length=32)
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "doctored_service.py").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "doctored_service:Settings"


def test_settings_name_the_services(service: str, postgres: Postgres, redis: Redis) -> None:
    environ = {
        "DATABASE_URL": postgres.url,
        "QUEUE_URL": redis.url,
        "SESSION_SECRET": "kq2vS1nGdJ0m4T8yRwZcLxHb7uEoPfA9",
    }
    findings = diagnose(service, environ)
    assert [found(findings, name).status for name in ("environment", "postgres", "redis")] == ["ok"] * 3


def test_an_invalid_environment_exits_with_78(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DATABASE_URL", "SESSION_SECRET", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["doctor", service]) == 78
    assert "DATABASE_URL" in capsys.readouterr().out


def test_json_and_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], redis: Redis
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("REDIS_URL", redis.url)
    assert cli.main(["doctor", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"name", "status", "message", "hint"} == set(listed[0])
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert cli.main(["doctor"]) == 1
    assert "✗" in capsys.readouterr().out
    assert cli.main(["doctor", "nowhere"]) == 2


def test_a_command_of_the_report_can_be_copied_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hint = "pip install 'prodkit-resilience[backup,files,heic,http,jobs,llm,logs,pdf,postgres,redis,sessions,web]'"
    monkeypatch.setattr(
        "prodkit.cli.doctor.diagnose", lambda *_: [Finding("extras", "skipped", "some", hint)]
    )
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main(["doctor"]) == 0
    assert hint in capsys.readouterr().out
