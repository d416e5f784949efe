"""Every Python block of README and docs runs as it stands; blocks of one page share their names, in order."""

import asyncio
import inspect
import re
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from prodkit import SYSTEM

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[CodeType]:
    text = page.read_text()
    found = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(1))
        # Padding keeps line numbers right in tracebacks; top-level await is allowed, as in a notebook.
        source = "\n" * line + match.group(1)
        found.append(compile(source, str(page), "exec", flags=0x2000))  # PyCF_ALLOW_TOP_LEVEL_AWAIT
    return found


async def bounded(block: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(60):
        await block


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """A page may install telemetry for the whole process; later tests must not run under it."""
    before = SYSTEM.events._subscribers
    yield
    SYSTEM.events._replace(before)
    if (sentry := sys.modules.get("sentry_sdk")) is not None:  # it writes to the environment of subprocesses
        sentry.get_client().close()
        sentry.get_global_scope().set_client(None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    names: dict[str, object] = {"__name__": "page"}
    with asyncio.Runner() as runner:  # one loop a page: a block may use what an earlier one opened
        for code in blocks(page):
            result = eval(code, names)
            if inspect.iscoroutine(result):
                runner.run(bounded(result))
