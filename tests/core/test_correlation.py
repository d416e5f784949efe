from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from prodkit.core.correlation import next_traceparent, request_id, traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def _no_request() -> Iterator[None]:
    tokens = (traceparent.set(None), request_id.set(None))
    yield
    traceparent.reset(tokens[0])
    request_id.reset(tokens[1])


def test_the_trace_of_the_request_goes_on_with_a_new_parent_and_the_same_flags() -> None:
    traceparent.set(f"00-{TRACE}-{PARENT}-01")
    first, second = next_traceparent(), next_traceparent()
    for sent in (first, second):
        assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", sent)
        assert PARENT not in sent
    assert first != second


def test_without_a_request_an_unsampled_trace_begins() -> None:
    first, second = next_traceparent(), next_traceparent()
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", first)
    assert first.split("-")[1] != second.split("-")[1]


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "not a trace",
        f"00-{'0' * 32}-{PARENT}-01",  # all zero is invalid by the standard
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
    ],
)
def test_an_invalid_trace_context_is_not_sent_on(broken: str) -> None:
    traceparent.set(broken)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", sent := next_traceparent())
    assert TRACE not in sent.lower()


async def test_tasks_started_by_a_request_inherit_its_id() -> None:
    async def inner() -> str | None:
        seen = request_id.get()
        request_id.set("inner")
        return seen

    request_id.set("r-1")
    assert await asyncio.create_task(inner()) == "r-1"
    assert request_id.get() == "r-1"
