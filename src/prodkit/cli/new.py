"""``prodkit new``: write a small service that is ready for production.

    prodkit new shop                # FastAPI, PostgreSQL, Redis, sessions of tests on embedded servers
    prodkit new shop --minimal      # without database and cache
    prodkit new shop --llm          # with a Claude client and the simulator in its tests
    prodkit new shop --jobs         # with durable jobs and a worker

The service starts with ``python3 noxfile.py run`` and passes ``python3 noxfile.py tests``.
"""

from __future__ import annotations

import json
import keyword
import re
import shlex
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, Final

import typer

from prodkit import __version__
from prodkit.errors import DISTRIBUTION

__all__ = ["app", "create"]

app: typer.Typer = typer.Typer(
    add_completion=False, help="Write a small service that is ready for production."
)

TEMPLATES: Final = Path(__file__).with_name("templates")
_TAKEN: Final = frozenset(
    {"anthropic", "argon2", "asyncpg", "croniter", "dotenv", "fastapi", "hiredis", "httpx"}
    | {"httpx2", "hypothesis", "jiter", "litestar", "loguru", "magic", "msgpack", "obstore"}
    | {"opentelemetry", "orjson", "pgqueuer", "pikepdf", "pil", "pillow_heif", "prodkit"}
    | {"prometheus_client", "pydantic", "pydantic_core", "pydantic_settings", "pyrage"}
    | {"pytest", "python_multipart", "redis", "rich", "sentry_sdk", "src", "starlette"}
    | {"tenacity", "tests", "typer", "uvicorn"}
)
"""Names that a package of this service would shadow, beside those of the standard library."""

_FEATURE = re.compile(r"^\s*(?:#|<!--|//)\s*\[(/?)(!?[a-z]+)\]\s*(?:-->)?\s*$")


@app.command()
def new(
    directory: Annotated[Path, typer.Argument(help="The folder to make; its name is the service's name.")],
    minimal: Annotated[bool, typer.Option("--minimal", help="No database, no cache.")] = False,
    llm: Annotated[bool, typer.Option("--llm", help="A Claude client with fallback models.")] = False,
    jobs: Annotated[bool, typer.Option("--jobs", help="Durable jobs and a worker, on PostgreSQL.")] = False,
) -> None:
    """Write the service into DIRECTORY, which must not exist or be empty."""
    features = {name for name, wanted in (("llm", llm), ("jobs", jobs)) if wanted}
    if not minimal:
        features |= {"db", "redis"}
    try:
        written = create(directory, features)
    except (ValueError, FileExistsError) as error:
        typer.echo(f"prodkit: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{len(written)} files in {directory}/")
    typer.echo(f"  cd {shlex.quote(str(directory))}")
    typer.echo("  python3 noxfile.py tests   # sets everything up and runs the tests")
    typer.echo("  python3 noxfile.py run     # starts the service on embedded servers")


def create(directory: Path, features: Iterable[str] = ("db", "redis")) -> list[Path]:
    """Write the service and return its files.

    Args:
        directory: the folder to make; its name must be usable as a package name.
        features: of ``db``, ``redis``, ``llm`` and ``jobs`` (which brings ``db``).

    Raises:
        ValueError: the name or a feature is not usable.
        FileExistsError: the folder holds files.
    """
    chosen = set(features)
    if unknown := chosen - {"db", "redis", "llm", "jobs"}:
        raise ValueError(f"unknown features: {', '.join(sorted(unknown))}")
    if "jobs" in chosen:
        chosen.add("db")
    name = directory.resolve().name
    package = re.sub(r"[-. ]", "_", name).lower()
    if not package.isidentifier() or keyword.iskeyword(package):
        raise ValueError(f"{name!r} cannot be the name of a Python package: use letters, digits and hyphens")
    if package in _TAKEN or package in sys.stdlib_module_names:
        raise ValueError(
            f"a package {package!r} would hide one that the service imports: choose another name"
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} exists and is not an empty folder")
    values = {"name": name, "package": package, "requirement": requirement(chosen)}
    source = TEMPLATES / "service"
    written = []
    for template in sorted(source.rglob("*")):
        if not template.is_file() or "__pycache__" in template.parts:
            continue
        place = str(template.relative_to(source)).removesuffix(".tmpl")
        parts = [package if part == "package" else part for part in Path(place).parts]
        if parts[-1].startswith("dot."):
            parts[-1] = parts[-1].removeprefix("dot")
        text = _render(template.read_text(), values, chosen)
        if not text.strip() and template.name != "__init__.py.tmpl":
            continue
        target = directory.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        written.append(target)
    return written


def requirement(features: set[str]) -> str:
    """Return the requirement of the kit with the extras for `features`.

    A kit that was installed from a folder is required from that folder, so that the service works before a release.
    """
    extras = ["cli", "http", "logs", "web"]
    extras += [
        extra
        for feature, extra in (("db", "postgres"), ("redis", "redis"), ("llm", "llm"), ("jobs", "jobs"))
        if feature in features
    ]
    named = f"{DISTRIBUTION}[{','.join(sorted(extras))}]"
    try:
        origin = json.loads(distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        origin = {}
    if "dir_info" in origin:
        return f"{named} @ {origin['url']}"
    return f"{named}>={__version__}"


def _render(text: str, values: dict[str, str], features: set[str]) -> str:
    """Fill ``{{name}}`` in, and keep the stretches between ``# [feature]`` and ``# [/feature]`` of chosen features."""
    lines: list[str] = []
    dropping: list[str] = []
    for line in text.splitlines(keepends=True):
        if match := _FEATURE.match(line):
            closing, feature = match[1], match[2]
            if closing:
                if dropping and dropping[-1] == feature:
                    dropping.pop()
            elif (feature.lstrip("!") in features) == feature.startswith("!"):
                dropping.append(feature)
            continue
        if not dropping:
            lines.append(line)
    rendered = re.sub(r"\n{4,}", "\n\n\n", "".join(lines))  # a dropped stretch may leave its blank lines
    for name, value in values.items():
        rendered = rendered.replace(f"{{{{{name}}}}}", value)
    return rendered
