"""Build what a release publishes: `python3 noxfile.py release` writes .prodkit/dist.

The wheel and the sdist carry the time of the commit (SOURCE_DATE_EPOCH), so that two builds of one commit are equal
byte for byte; the checksums let anybody compare. The SBOM (CycloneDX, JSON) lists what the wheel with every extra
installs. Nothing is uploaded: `.github/workflows/release.yml` does that, with attestations.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / ".prodkit" / "dist"


def epoch() -> str:
    """The time of the commit in seconds, or the one that the environment gives."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return given
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def build(source: Path, target: Path) -> list[Path]:
    """Build wheel and sdist of `source` into `target`."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch()}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL)
    return sorted(target.glob("*.whl")) + sorted(target.glob("*.tar.gz"))


def sbom(wheel: Path, target: Path) -> None:
    """Install the wheel with every extra into an empty environment and list what came with it."""
    venv = ROOT / ".prodkit" / "sbom"
    shutil.rmtree(venv, ignore_errors=True)
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    python = venv / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), f"{wheel}[all]"], check=True)
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        "--output-reproducible",
        "-o",
        str(target),
    ]
    subprocess.run([*command, "--pyproject", str(ROOT / "pyproject.toml"), str(python)], check=True)


def main() -> int:
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir(parents=True)
    files = build(ROOT, DIST)
    wheel = files[0]
    bill = DIST / "sbom.cdx.json"
    sbom(wheel, bill)
    files.append(bill)
    sums = "".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in files)
    (DIST / "SHA256SUMS").write_text(sums)
    print(sums, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
