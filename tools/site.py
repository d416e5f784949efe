"""Build the documentation site: `python3 noxfile.py site [serve]`.

The pages of ``docs/`` stay plain Markdown that any viewer renders. This script copies them, rewrites links that leave
``docs/`` to the repository, adds one generated API page for each package, and runs ``mkdocs build --strict``: a broken
link, a missing anchor or a page outside the navigation fails the build. No network is needed.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".prodkit" / "site"
SOURCE = HOME / "source"
REPOSITORY = "https://github.com/prodkit/prodkit/blob/main"
SECTIONS = ("tutorial", "how-to", "reference", "explanation", "api")
TITLES = {
    "tutorial": "Tutorial",
    "how-to": "How-to",
    "reference": "Reference",
    "explanation": "Explanation",
    "api": "API",
}


def main(arguments: list[str]) -> int:
    prepare()
    command = ["serve"] if arguments[:1] == ["serve"] else ["build", "--strict"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    options = ["--config-file", str(HOME / "mkdocs.yml")]
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", *command, *options], cwd=ROOT, env=environment
    ).returncode


def prepare() -> None:
    """Write the pages and the configuration that mkdocs reads."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for page in sorted((ROOT / "docs").rglob("*")):
        if page.is_file():
            target = SOURCE / page.relative_to(ROOT / "docs")
            target.parent.mkdir(parents=True, exist_ok=True)
            if page.suffix == ".md":
                target.write_text(outward(page.read_text(), page))
            else:
                shutil.copyfile(page, target)
    (SOURCE / "changelog.md").write_text(
        outward((ROOT / "CHANGELOG.md").read_text(), ROOT / "docs" / "changelog.md")
    )
    api = SOURCE / "api"
    api.mkdir()
    shown: dict[str, str] = {}
    for package in reversed(
        packages()
    ):  # a name stands on the page of its own package, not on the front door's
        (api / f"{package.removeprefix('prodkit.')}.md").write_text(api_page(package, shown))
    config = (ROOT / "mkdocs.yml").read_text()
    config = config.replace("docs_dir: .prodkit/site/source", f"docs_dir: {SOURCE}")
    config = config.replace("site_dir: .prodkit/site/html", f"site_dir: {HOME / 'html'}")
    config = config.replace("paths: [src]", f"paths: [{ROOT / 'src'}]")
    (HOME / "mkdocs.yml").write_text(f"{config}\n{navigation()}")


def outward(text: str, page: Path) -> str:
    """Rewrite relative links that leave docs/ to the repository."""

    def link(match: re.Match[str]) -> str:
        label, target = match[1], match[2]
        if "://" in target or target.startswith(("#", "mailto:")):
            return match[0]
        path, hash_sign, anchor = target.partition("#")
        place = (page.parent / path).resolve()
        if place.is_relative_to(ROOT / "docs"):
            return match[0]
        return f"[{label}]({REPOSITORY}/{place.relative_to(ROOT)}{hash_sign}{anchor})"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", link, text)


def packages() -> list[str]:
    """The packages with public names, the front door first."""
    sys.path.insert(0, str(ROOT / "src"))
    import prodkit

    found = [each.name for each in pkgutil.iter_modules(prodkit.__path__, "prodkit.") if each.ispkg]
    return ["prodkit", *(name for name in found if getattr(importlib.import_module(name), "__all__", ()))]


def api_page(package: str, shown: dict[str, str]) -> str:
    """One page: every public name of a package, rendered from its docstring; once, and linked from elsewhere."""
    page = package.removeprefix("prodkit.")
    module = importlib.import_module(package)
    lines = [f"# {package}", "", (module.__doc__ or "").partition("\n")[0], ""]
    for name in sorted(module.__all__, key=lambda name: (not name[0].isupper(), name)):
        value = getattr(module, name)
        home = getattr(value, "__module__", None) or ""
        if not (inspect.isclass(value) or inspect.isroutine(value)) or not home.startswith("prodkit"):
            lines += [f"## {name}", "", f"`{package}.{name}`", ""]
            continue
        path = f"{home}.{value.__qualname__}"
        if path in shown:
            lines += [f"## {name}", "", f"See [{path}]({shown[path]}.md#{path}).", ""]
        else:
            shown[path] = page
            lines += [f"::: {path}", ""]
    return "\n".join(lines)


def navigation() -> str:
    """The navigation: the sections in order, each page by its first heading."""
    lines = ["nav:", "  - index.md"]
    for section in SECTIONS:
        lines.append(f"  - {TITLES[section]}:")
        pages = sorted(
            (SOURCE / section).glob("*.md"),
            key=lambda page: (page.stem != "index", page.stem != "prodkit", page.stem),
        )
        lines += [f"      - {section}/{page.name}" for page in pages]
    return "\n".join([*lines, "  - changelog.md"]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
