"""The path of one call: as the package docstring draws it, and short enough to be read."""

import itertools
import logging
import re
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import pytest

from prodkit import Runtime, llm
from prodkit.testing.anthropic import Simulator

PARAMS: dict[str, Any] = {"max_tokens": 400, "messages": [{"role": "user", "content": "Vale a pena?"}]}


async def _traced(call: Callable[[], Awaitable[object]]) -> list[tuple[str, str]]:
    """The functions of prodkit that `call` enters, as (file, qualified name), in the order of their first entry."""
    seen: dict[tuple[str, str], None] = {}

    def profile(frame: FrameType, event: str, arg: object) -> None:
        _, found, name = frame.f_code.co_filename.partition("/prodkit/src/prodkit/")
        if not found:
            _, found, name = frame.f_code.co_filename.rpartition("/src/prodkit/")
        if event == "call" and found:
            seen[name, frame.f_code.co_qualname] = None

    await call()
    await call()  # warmed: the SDK is loaded, the connection is kept
    sys.setprofile(profile)
    try:
        await call()
    finally:
        sys.setprofile(None)
    return list(seen)


def _drawn(column: int) -> list[str]:
    """The functions that a column of the drawing names, in order."""
    lines = (llm.__doc__ or "").partition("::\n")[2].splitlines()
    start = lines[1].index("Client.stream")
    parts = [line[:start] if column == 0 else line[start:] for line in lines if line.strip()]
    return [found.group() for part in parts if (found := re.search(r"[A-Za-z_]+(\.[a-z_]+)?", part))]


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Runtime:
    """A runtime without subscribers, with loggers as Python has them: reporting is another path."""
    for name in ("prodkit", "httpx", "httpx2", "anthropic"):
        caplog.set_level(logging.WARNING, name)
    return Runtime()


@pytest.mark.parametrize(("operation", "functions", "switches"), [("create", 44, 30), ("stream", 71, 40)])
async def test_a_call_takes_the_path_that_is_drawn(
    operation: str, functions: int, switches: int, quiet: Runtime
) -> None:
    with Simulator() as simulator:
        async with llm.Client("k", base_url=simulator.url, runtime=quiet) as client:

            async def create() -> None:
                await client.create(**PARAMS)

            async def stream() -> None:
                async with client.stream(**PARAMS) as answer:
                    async for _ in answer.text:
                        pass

            path = await _traced(create if operation == "create" else stream)
    names = [name for _, name in path]
    entered = [name.removesuffix(".__init__") for name in names]
    places = [entered.index(name) for name in _drawn(0 if operation == "create" else 1)]
    assert places == sorted(places), f"not in this order: {[entered[place] for place in places]}"
    files = [file for file, _ in path]
    assert len(names) <= functions
    assert sum(a != b for a, b in itertools.pairwise(files)) <= switches
