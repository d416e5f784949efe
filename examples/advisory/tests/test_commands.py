"""The programs, from outside: what a person at a terminal sees."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import advisory
import prodkit
from advisory.settings import Settings
from prodkit import env

pytestmark = pytest.mark.integration
PATHS = os.pathsep.join(str(Path(each.__file__).parent.parent) for each in (advisory, prodkit))


def environment(**variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": PATHS, "PYTHONDONTWRITEBYTECODE": "1", **variables}


def advisory_command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "advisory", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def started(*arguments: str, cwd: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "advisory", *arguments],
        env=environment(**variables),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def descendants(pid: int) -> set[int]:
    """Our processes below `pid`, those of other sessions included."""
    found: set[int] = set()
    frontier = {pid}
    parents = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                stat = (each / "stat").read_text()
            except OSError:
                continue
            parents[int(each.name)] = int(stat.rpartition(")")[2].split()[1])
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier} - found
        found |= frontier
    return found


def test_every_bad_variable_is_told_at_once_in_portuguese_without_a_secret():
    began = time.monotonic()
    done = advisory_command(
        "serve",
        DATABASE_URL="postgres://u:segredo-da-url@@h/db",
        SESSION_SECRET="curta-demais",
        PORT="oitenta",
        REDIS_ULR="redis://h",
    )
    seconds = time.monotonic() - began
    assert done.returncode == 78
    for name in ("DATABASE_URL", "SESSION_SECRET", "PORT", "ANTHROPIC_API_KEY", "REDIS_ULR"):
        assert name in done.stderr
    assert "é obrigatória e não foi definida" in done.stderr
    assert "você quis dizer REDIS_URL?" in done.stderr
    for secret in ("segredo-da-url", "curta-demais", "oitenta"):
        assert secret not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert seconds < 10  # a limit against a hang; the aim of 2 s is for a quiet machine


def test_a_bad_environment_is_told_before_anything_heavy_is_loaded():
    code = (
        "import sys, advisory.__main__ as m\n"
        "assert m.main(['serve']) == 78\n"
        "heavy = {'fastapi', 'uvicorn', 'sqlalchemy', 'anthropic', 'asyncpg', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-c", code], env=environment(), check=True, timeout=60, stderr=subprocess.DEVNULL
    )


def test_a_database_that_is_away_is_one_line():
    done = advisory_command(
        "serve",
        ENVIRONMENT="development",  # production refuses a database on this very machine
        DATABASE_URL="postgresql://u:p9x7k2@127.0.0.1:9/db",
        ANTHROPIC_API_KEY="sk-test-8Rk2Lm5Q",
        SESSION_SECRET="q8Zr5tWv1Yx4Nb7Kd0Fh3Jm6Ps9Ua2Ce",
        PORT="8999",
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "p9x7k2" not in done.stderr


def test_migrating_twice_does_nothing_the_second_time(postgres_url):
    variables = {
        "ENVIRONMENT": "development",
        "DATABASE_URL": postgres_url,
        "ANTHROPIC_API_KEY": "sk-test-8Rk2Lm5Q",
        "SESSION_SECRET": "q8Zr5tWv1Yx4Nb7Kd0Fh3Jm6Ps9Ua2Ce",
    }
    unready = advisory_command("serve", **variables)
    assert unready.returncode == 1
    assert "advisory migrate" in unready.stderr
    first = advisory_command("migrate", **variables).stdout
    assert "atualizado" in first
    assert "5 especialistas iniciais criados" in first  # a new account can ask at once
    again = advisory_command("migrate", **variables).stdout
    assert "já estava em dia" in again
    assert "especialistas" not in again


def test_a_taken_port_is_one_line_that_says_what_to_do(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with started("demo", "--port", str(port), cwd=tmp_path) as process:
            out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out == ""
    assert err.strip() == f"advisory: a porta {port} está em uso; escolha outra com --port {port + 1}"
    assert list(tmp_path.iterdir()) == []


def test_the_demo_opens_signed_in_and_leaves_nothing_behind(tmp_path):
    with demo(tmp_path, signal.SIGINT) as url, httpx.Client(follow_redirects=True, timeout=20) as client:
        page = client.get(url)
        assert page.status_code == 200
        assert "Visitante" in page.text
        assert page.text.count('name="experts"') >= 3
        assert "Tenho uma padaria de bairro" in page.text
        panel = client.get(url + "demo/falhas").text  # the old address
        assert "Reiniciar o PostgreSQL" in panel
        token = re.search(r'name="csrf_token" value="([^"]+)"', panel.split("</header>")[1])
        assert token
        done = client.post(url + "falhas", data={"csrf_token": token[1], "fault": "postgres"})
        while done.status_code == 503:
            time.sleep(0.2)
            done = client.get(url + "falhas")
        assert "Feito: Reiniciar o PostgreSQL." in done.text
        # Only this machine, only under its own names, and not for a page elsewhere.
        for headers in ({"host": "mau.exemplo"}, {"sec-fetch-site": "cross-site"}):
            with httpx.Client(timeout=20) as stranger:
                answer = stranger.get(url, headers=headers)
                assert answer.status_code == 200
                assert "Visitante" not in answer.text
    with demo(tmp_path, signal.SIGTERM) as url:  # the same data once more, without Alembic
        assert httpx.get(url, follow_redirects=True, timeout=20).status_code == 200
    assert [each.name for each in tmp_path.iterdir()] == ["dados"]


@contextmanager
def demo(place: Path, farewell: signal.Signals) -> Iterator[str]:
    """Its address while it runs; then it is asked to leave, and everything that it started has to be gone."""
    with started("demo", "--port", "0", "--data", "dados", cwd=place) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert url, line
        yield url[0]
        family = descendants(process.pid)
        assert family
        process.send_signal(farewell)
        _, err = process.communicate(timeout=20)
        assert process.returncode in (0, 130, -farewell, 128 + farewell)
        assert "Traceback" not in err
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in family) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"MAIL_URL": "smtps://app:s3nha-9Kq@mail.example:465"}, "PUBLIC_URL falta: com MAIL_URL"),
        ({"MAIL_URL": "ftp://mail.example", "PUBLIC_URL": "https://a.example"}, "smtps://"),
        ({"MAIL_URL": "smtps://:465", "PUBLIC_URL": "https://a.example"}, "smtps://"),
        ({"OPERATOR_TOKEN": "curto-s3nha"}, "24"),
    ],
)
def test_mail_and_operator_settings_are_checked_and_never_shown(variables, text):
    done = advisory_command(
        "migrate",
        ENVIRONMENT="development",
        DATABASE_URL="postgresql://u@127.0.0.1:1/x",
        ANTHROPIC_API_KEY="k3y-7Qv2mX9",
        SESSION_SECRET="9f86d081884c7d659a2feaa0c55ad015",
        **variables,
    )
    assert done.returncode == 78, done.stderr
    assert text in done.stderr
    assert "s3nha" not in done.stderr + done.stdout


@pytest.mark.parametrize("name", ["ENV_VARIABLES.md", ".env.example"])
def test_the_documents_of_the_environment_are_those_of_the_settings(name):
    """`prodkit env docs|example advisory.settings:Settings --output …` writes them."""
    made = env.markdown(Settings) if name.endswith(".md") else env.env_example(Settings)
    assert (Path(advisory.__file__).parent / name).read_text() == made
