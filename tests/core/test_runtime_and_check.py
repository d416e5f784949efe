import dataclasses
import random

import pytest

from prodkit import SYSTEM, Check, CheckResult, EventStream, LoopClock, Runtime
from prodkit.core.secrets import Revealable, reveal


def test_each_runtime_has_its_own_parts_and_each_can_be_replaced() -> None:
    one, other = Runtime(), Runtime()
    assert one.events is not other.events
    assert one.rng is not other.rng
    assert isinstance(SYSTEM.clock, LoopClock)
    events = EventStream()
    chosen = Runtime(rng=random.Random(7), events=events)
    assert chosen.events is events
    assert chosen.rng.random() == random.Random(7).random()
    with pytest.raises(dataclasses.FrozenInstanceError):
        chosen.events = EventStream()  # type: ignore[misc]


def test_anything_with_a_name_and_a_check_is_a_check() -> None:
    class Disk:
        name = "disk"

        async def check(self) -> CheckResult:
            return CheckResult("up")

    assert isinstance(Disk(), Check)
    assert not isinstance(object(), Check)
    assert CheckResult("up") == CheckResult("up", reason="", details={})
    assert CheckResult("up").details is not CheckResult("up").details


def test_a_secret_is_text_or_shows_it_when_asked() -> None:
    class Hidden:
        def reveal(self) -> str:
            return "made up"

    assert reveal("plain") == "plain"
    assert reveal(Hidden()) == "made up"
    assert isinstance(Hidden(), Revealable)
