from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from prodkit.env.fields import Quality, Secret, secret

GOOD = "0b5f1c2e9d7a48f3b6c1d0e9f8a7b6c5"  # made up


class Settings(BaseModel):
    key: Secret = secret(description="Signs the sessions.")
    pin: Secret | None = secret(4, default=None)


def rule(**values: str) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings(**{"key": GOOD, **values})  # type: ignore[arg-type]
    error = caught.value.errors()[0]
    assert not any(value in str(error["msg"]) for value in values.values())
    return str(error["ctx"]["error"].rule)


def test_a_strong_value_is_accepted_and_stays_hidden() -> None:
    found = Settings(key=GOOD)  # type: ignore[arg-type]
    assert found.key.reveal() == GOOD
    assert GOOD not in repr(found)
    assert found.pin is None


def test_a_short_and_a_weak_value_break_different_rules() -> None:
    assert rule(key=GOOD[:31]) == "too_short"
    assert rule(key="ab" * 16) == "low_entropy"
    assert rule(pin="7k3") == "too_short"


def test_the_field_is_required_and_described() -> None:
    field = Settings.model_fields["key"]
    assert field.is_required()
    assert field.description == "Signs the sessions."
    assert "Quality(min_length=32)" in map(repr, field.metadata)


@pytest.mark.parametrize("length", [0, -1, True, 2.5, "32"])
def test_an_invalid_length_is_refused_with_the_value_seen(length: object) -> None:
    with pytest.raises((TypeError, ValueError), match=f"min_length .* got {length!r}"):
        secret(min_length=length)  # type: ignore[arg-type]


def test_the_rule_is_for_secrets_only() -> None:
    class Plain(BaseModel):
        text: Annotated[str, Quality(32)]

    assert Plain(text="x").text == "x"
