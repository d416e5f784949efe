"""The deployment, as far as it can be checked without containers; `noxfile.py image` tries the rest for real."""

import http.server
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from advisory.deploy import backups, dokploy, healthcheck
from advisory.settings import BackupSettings, Settings

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "examples" / "advisory" / "deploy"
BIN = Path(sys.executable).parent
GUIDES = sorted((ROOT / "docs" / "how-to").glob("deploy-*.md"))


def tool(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / name), *words], cwd=ROOT, capture_output=True, text=True, timeout=120)


# --- image and compose files -----------------------------------------------------------------------------------------


def test_the_dockerfile_is_clean() -> None:
    done = tool("hadolint", str(DEPLOY / "Dockerfile"))
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_stays_in_the_subset_that_both_builders_share() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for unknown in ("# syntax", "<<", "--link", "start-interval"):
        assert unknown not in text, unknown


def test_the_image_runs_unprivileged_and_needs_no_curl() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    uid = re.search(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert uid is not None
    assert int(uid[1]) >= 10_000
    assert not re.search(r"\b(curl|wget)\b", text)
    assert re.search(r'^CMD \["', text, re.MULTILINE), "CMD in exec form, so that SIGTERM reaches the process"
    assert "org.opencontainers.image.revision" in text


def test_the_context_is_an_allow_list() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert not [line for line in lines if line.startswith("!") and (".env" in line or ".git" in line)]
    assert "**/.*" in lines


@pytest.mark.parametrize("name", ["compose.yaml", "compose.dev.yaml"])
def test_compose_files_follow_the_specification(name: str) -> None:
    done = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / name))
    assert done.returncode == 0, done.stdout


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


@pytest.mark.parametrize("service", ["app", "worker", "migrate", "backup"])
def test_our_services_are_confined(service: str) -> None:
    settings = compose()["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges"]


def test_required_values_have_no_default() -> None:
    environment = compose()["x-app"]["environment"]
    for name in ("ANTHROPIC_API_KEY", "SESSION_SECRET"):
        assert re.fullmatch(rf"\$\{{{name}:\?.+\}}", environment[name])
    assert "${POSTGRES_PASSWORD:?" in environment["DATABASE_URL"]


def test_the_app_starts_after_the_migration_and_stops_after_its_drain() -> None:
    services = compose()["services"]
    for name in ("app", "worker", "backup"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    graceful = Settings.model_fields["graceful_seconds"].default
    assert int(services["app"]["stop_grace_period"].removesuffix("s")) > graceful


def test_variables_of_compose_are_settings_of_the_app() -> None:
    known = {name.upper() for name in Settings.model_fields}
    services = compose()["services"]
    given = set(compose()["x-app"]["environment"]) | set(services["app"]["environment"]) - {"<<"}
    assert given <= known


def test_the_example_file_names_what_compose_requires() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    example = set(re.findall(r"^#?(\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert required <= example
    assert not re.search(
        r"^(\w*(?:SECRET|KEY|PASSWORD))=\S", (DEPLOY / ".env.example").read_text(), re.MULTILINE
    )


def test_requirements_of_the_images() -> None:
    spec = importlib.util.spec_from_file_location("requirements", DEPLOY / "requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = module.requirements(ROOT / "pyproject.toml", "app")
    assert any(each.startswith("asyncpg") for each in app)
    assert any(each.startswith("uvicorn") for each in app)
    assert not any(each.startswith(("prodkit", "pytest")) for each in app)
    assert any("pgserver" in each for each in module.requirements(ROOT / "pyproject.toml", "backup"))


def test_kubernetes_manifests_are_valid() -> None:
    done = tool("kubernetes-validate", "--strict", str(DEPLOY / "kubernetes" / "advisory.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = [
        each["kind"] for each in yaml.safe_load_all((DEPLOY / "kubernetes" / "advisory.yaml").read_text())
    ]
    assert kinds == ["Job", "Deployment", "Deployment", "Service", "PodDisruptionBudget"]


def test_fly_sends_sigterm_and_migrates_first() -> None:
    with (DEPLOY / "fly.toml").open("rb") as file:
        config = tomllib.load(file)
    assert config["kill_signal"] == "SIGTERM"
    assert config["deploy"]["release_command"] == "python -m advisory migrate"
    assert (ROOT / config["build"]["dockerfile"]).exists()


# --- health check ----------------------------------------------------------------------------------------------------


class Answering(http.server.BaseHTTPRequestHandler):
    status = 200
    seen: ClassVar[list[tuple[str, str, Any, str | None]]] = []

    def do_GET(self) -> None:
        self.seen.append(("GET", self.path, None, None))
        self.send_response(self.status)
        self.end_headers()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(("POST", self.path, body, self.headers["x-api-key"]))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b'{"applicationId": "app1"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    Answering.status, Answering.seen = 200, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_the_health_check_follows_readiness(
    server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", str(server.server_port))
    assert healthcheck.main() == 0
    Answering.status = 503
    assert healthcheck.main() == 1
    monkeypatch.setenv("PORT", "1")
    assert healthcheck.main() == 1
    assert {path for _, path, _, _ in Answering.seen} == {"/api/health/ready"}


# --- Dokploy ---------------------------------------------------------------------------------------------------------

SECRET = "kq2vS1nGdJ0m4T8yRwZcLxHb7uEoPfA9"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / "env"
    path.write_text(
        f"# comment\nDATABASE_URL=postgresql://u:{SECRET}@db/x\nANTHROPIC_API_KEY={SECRET}\nSESSION_SECRET={SECRET}\n"
    )
    return path


def test_the_plan_shows_the_settings_and_no_secret(
    env_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dokploy.main(["plan", "--env-file", str(env_file)]) == 0
    text = capsys.readouterr().out
    assert SECRET not in text
    assert '"buildType": "dockerfile"' in text
    assert '"Order": "start-first"' in text
    assert '"createEnvFile": false' in text
    assert '"Interval": 5000000000' in text
    assert "MIGRATE=true" in text


def test_apply_sends_the_requests_in_order_with_the_key_in_a_header(
    env_file: Path,
    server: http.server.HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DOKPLOY_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("DOKPLOY_API_KEY", SECRET)
    assert dokploy.main(["apply", "--environment", "e1", "--env-file", str(env_file)]) == 0
    assert [path for _, path, _, _ in Answering.seen] == [
        f"/api/application.{name}"
        for name in ("create", "saveGitProvider", "saveBuildType", "saveEnvironment", "update", "deploy")
    ]
    assert {key for _, _, _, key in Answering.seen} == {SECRET}
    assert all(body.get("applicationId", "app1") == "app1" for _, _, body, _ in Answering.seen)
    update = Answering.seen[4][2]
    assert update["stopGracePeriodSwarm"] == 20_000_000_000
    Answering.status = 401
    assert dokploy.main(["apply", "--environment", "e1", "--env-file", str(env_file)]) == 1
    output = capsys.readouterr()
    assert "HTTP 401" in output.err
    assert SECRET not in output.out + output.err


def test_an_incomplete_environment_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "env"
    path.write_text("DATABASE_URL=postgresql://u@db/x\nSESSION_SECRET=\n")
    assert dokploy.main(["plan", "--env-file", str(path)]) == 2
    assert "ANTHROPIC_API_KEY, SESSION_SECRET" in capsys.readouterr().err


def test_a_plan_shows_no_secret_of_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = {
        name.upper()
        for name, field in Settings.model_fields.items()
        if any(kind in str(field.annotation) for kind in ("Secret", "PostgresUrl", "RedisUrl"))
    }
    assert {"MAIL_URL", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY"} <= hidden
    path = tmp_path / "env"
    path.write_text("".join(f"{name}=s3cr3t\n" for name in sorted({*hidden, "POSTGRES_PASSWORD"})))
    assert dokploy.main(["plan", "--env-file", str(path)]) == 0
    said = capsys.readouterr().out
    assert "OPERATOR_TOKEN=***" in said
    assert "s3cr3t" not in said


# --- backups ---------------------------------------------------------------------------------------------------------


def backup_settings(tmp_path: Path, **more: str) -> BackupSettings:
    variables = {"DATABASE_URL": "postgresql://u@db/council", "BACKUP_DIRECTORY": str(tmp_path)}
    return BackupSettings.load({**variables, **more})


def test_the_next_backup_is_at_its_hour(tmp_path: Path) -> None:
    nightly = backups.nightly_of(backup_settings(tmp_path, BACKUP_HOUR="4"), None)
    assert nightly.due(datetime(2026, 1, 2, 3, 59, tzinfo=UTC)) == datetime(2026, 1, 1, 4, tzinfo=UTC)
    assert nightly.due(datetime(2026, 1, 2, 4, 0, tzinfo=UTC)) == datetime(2026, 1, 2, 4, tzinfo=UTC)


def test_the_bucket_is_optional_and_shows_no_key(tmp_path: Path) -> None:
    assert backups.bucket_of(backup_settings(tmp_path)) is None
    key = tmp_path / "key"
    key.write_text("s3cr3t-7Qv2mX9\n")
    settings = backup_settings(
        tmp_path,
        BACKUP_BUCKET="s3://backups/council",
        AWS_ENDPOINT_URL="https://s3.example.com",
        AWS_REGION="",
        AWS_ACCESS_KEY_ID="n4me-7Qv2mX9",
        AWS_SECRET_ACCESS_KEY_FILE=str(key),
    )
    bucket = backups.bucket_of(settings)
    assert bucket is not None
    assert bucket.url == "s3://backups/council"
    assert settings.aws_secret_access_key is not None
    assert settings.aws_secret_access_key.reveal() == "s3cr3t-7Qv2mX9"
    assert "7Qv2mX9" not in repr(settings) + repr(bucket) + repr(backups.nightly_of(settings, bucket))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"BACKUP_BUCKET": "https://s3.example.com/s3cr3t"}, "BACKUP_BUCKET"),
        ({"BACKUP_BUCKET": "s3://b", "AWS_SECRET_ACCESS_KEY": "s3cr3t-7Qv2mX9"}, "AWS_ACCESS_KEY_ID"),
        ({"BACKUP_BUCKET": "s3://b", "AWS_ENDPOINT_URL": "http://minio:9000"}, "https://"),
        ({"BACKUP_BUCKET": "s3://b", "AWS_ENDPOINT_URL": "minio:9000"}, "AWS_ENDPOINT_URL"),
        ({"BACKUP_HOUR": "24"}, "BACKUP_HOUR"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_begun(
    variables: dict[str, str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@db/council")
    monkeypatch.setenv("BACKUP_DIRECTORY", str(tmp_path / "backups"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert backups.main(["run"]) == backups.EX_CONFIG
    said = capsys.readouterr().err
    assert named in said
    assert "s3cr3t" not in said
    assert not (tmp_path / "backups").exists()


def test_compose_hands_the_bucket_to_the_backup_service_alone() -> None:
    bucket = {name.upper() for name in BackupSettings.model_fields if name.startswith(("aws_", "backup_b"))}
    assert len(bucket) == 5
    services = compose()["services"]
    given = services["backup"]["environment"]
    for name in bucket:
        assert given[name] is None, "without a value, so that it stays unset in the container"
    assert not bucket & set(compose()["x-app"]["environment"])
    example = set(re.findall(r"^#?(\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert bucket <= example


def test_the_restore_drill_of_the_guide_uses_the_database_server() -> None:
    given = compose()["services"]["backup"]["environment"]
    assert given["BACKUP_VERIFY_URL"] == compose()["x-app"]["environment"]["DATABASE_URL"]


def test_an_old_or_missing_backup_is_unhealthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backups.check(tmp_path) == 1
    mark = tmp_path / backups.MARK
    mark.write_text("now")
    assert backups.check(tmp_path) == 0
    assert backups.check(tmp_path, mark.stat().st_mtime + backups.MAX_AGE + 1) == 1
    assert "hours old" in capsys.readouterr().err


@pytest.mark.integration
def test_a_backup_is_made_verified_and_counts(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": postgres_url,
        "BACKUP_DIRECTORY": str(tmp_path),
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT / "examples"))),
    }
    command = [sys.executable, "-m", "advisory.deploy.backups"]
    done = subprocess.run([*command, "run"], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([*command, "check"], env=environment, timeout=60).returncode == 0
    environment["DATABASE_URL"] = "postgresql://u:s3cr3t@127.0.0.1:1/x"
    done = subprocess.run([*command, "run"], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "s3cr3t" not in done.stdout + done.stderr


# --- guides ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_everything_that_a_guide_names_exists(guide: Path) -> None:
    text = guide.read_text()
    known = {name.upper() for name in Settings.model_fields}
    known |= set(re.findall(r"^#?(\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    known |= {"DOKPLOY_URL", "DOKPLOY_API_KEY", "COMMIT", "SIGTERM", "SIGKILL", "HEALTHCHECK", "DATABASE_URL"}
    known |= {
        "CMD",
        "TLS",
        "SSL",
        "API",
        "JSON",
        "DNS",
        "UTC",
        "URL",
        "CLI",
        "UI",
        "SQL",
        "NULL",
    }
    for name in re.findall(r"`([A-Z][A-Z_]{2,})(?:=[^`]*)?`", text):
        assert name.removesuffix("_FILE") in known, f"{guide.name}: the variable {name} is not known"
    for path in re.findall(r"`((?:examples|docs|src|tools|deploy)/[\w./-]+)`", text):
        assert (ROOT / path).exists() or (DEPLOY.parent / path).exists(), (
            f"{guide.name}: {path} does not exist"
        )
    for module in re.findall(r"python -m (advisory(?:\.\w+)*)", text):
        assert importlib.util.find_spec(module) is not None, f"{guide.name}: no module {module}"
    commands = set(re.findall(r"add_parser\(\s*\"(\w+)\"", (DEPLOY.parent / "__main__.py").read_text()))
    assert set(re.findall(r"python -m advisory (\w+)", text)) <= commands, f"{guide.name}: an unknown command"
    services = set(compose()["services"])
    for service in re.findall(r"docker compose (?:exec|logs|run --rm|restart|ps)(?: -\S+)* (\w+)", text):
        assert service in services, f"{guide.name}: no service {service}"
    from prodkit.cli import COMMANDS

    for command in re.findall(r"\bprodkit (env|backup|jobs|doctor)\b", text):
        assert command in COMMANDS, f"{guide.name}: no command prodkit {command}"
