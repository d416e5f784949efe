"""What the tests of the policies share."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

import prodkit as pk


class Boom(Exception):
    """A fault of the dependency."""


class Business(Exception):
    """An error that says nothing about the dependency's health."""


class Upstream:
    """Does what `mode` says, and counts how often it was reached."""

    Boom = Boom
    Business = Business

    def __init__(self) -> None:
        self.calls = 0
        self.mode: Any = "ok"

    async def __call__(self, mode: Any = None) -> Any:
        self.calls += 1
        mode = self.mode if mode is None else mode
        if isinstance(mode, asyncio.Future):
            return await mode
        if isinstance(mode, (int, float)):
            await asyncio.sleep(mode)
        elif mode == "hang":
            await asyncio.sleep(1e9)
        elif mode == "bad":
            raise Boom("original")
        elif mode == "business":
            raise Business("no such customer")
        return "answer"


@pytest.fixture
def up() -> Upstream:
    return Upstream()


async def outcome(awaitable: Any) -> Any:
    """The returned value, or the class of the raised error."""
    try:
        return await awaitable
    except asyncio.CancelledError:
        return "cancelled"
    except Exception as error:
        return type(error)


@pytest.fixture(name="outcome")
def outcome_fixture() -> Callable[[Any], Any]:
    return outcome


@pytest.fixture
def seeded() -> pk.Runtime:
    return pk.Runtime(rng=random.Random(7))
