import dataclasses
import random

import pytest

from prodkit import SYSTEM, EventStream, LoopClock, Runtime


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


def test_policies_are_on_and_the_environment_is_development_by_default() -> None:
    assert (SYSTEM.policies, SYSTEM.environment) == ("on", "development")
    production = dataclasses.replace(SYSTEM, environment="production")
    assert production.environment == "production"
    assert production.events is SYSTEM.events


def test_every_wrong_argument_is_named_in_one_error() -> None:
    with pytest.raises(ValueError, match=r"clock\.monotonic.*rng.*events.*policies.*environment"):
        Runtime(clock=3, rng=4, events=5, policies="maybe", environment="")  # type: ignore[arg-type]
