"""A script as single statements: asyncpg prepares each, and takes one at a time."""

from __future__ import annotations

__all__ = ["statements"]


def statements(script: str) -> list[str]:
    """Splits at each ``;`` that ends a line outside of ``$$ … $$``; comment lines outside are dropped."""
    found: list[str] = []
    current: list[str] = []
    quoted = False
    for line in script.splitlines():
        if not quoted and (not line.strip() or line.lstrip().startswith("--")):
            continue
        current.append(line)
        if line.count("$$") % 2:
            quoted = not quoted
        if not quoted and line.rstrip().endswith(";"):
            found.append("\n".join(current))
            current = []
    if current:
        found.append("\n".join(current))
    return found
