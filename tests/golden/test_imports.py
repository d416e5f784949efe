"""What an import costs: a front door that loads nothing until a name is used."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = str(Path(__file__).parents[2] / "src")
EXTRAS = {
    "anthropic", "asyncpg", "redis", "PIL", "magic", "loguru", "starlette", "httpx", "pydantic", "pydantic_settings",
    "tenacity", "typer", "rich", "prometheus_client", "opentelemetry", "argon2", "pytest",
}  # fmt: skip


def modules(statement: str) -> set[str]:
    code = f"import sys; sys.path.insert(0, {SOURCE!r}); {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_import_prodkit_adds_at_most_ten_modules_to_asyncio() -> None:
    added = modules("import asyncio, prodkit") - modules("import asyncio")
    assert "prodkit" in added
    assert len(added) <= 10, added
    assert all(name.partition(".")[0] == "prodkit" or name in sys.stdlib_module_names for name in added), (
        added
    )


@pytest.mark.parametrize(
    "statement",
    [
        "import prodkit",
        "from prodkit import testing",
        "from prodkit.testing import servers, Proxy, virtual_time, events, faults",
        "from prodkit import Runtime, Deadline, running, CheckResult, ProdkitError",
    ],
)
def test_these_load_no_third_party(statement: str) -> None:
    loaded = {name.partition(".")[0] for name in modules(statement)}
    assert not loaded & EXTRAS
