from __future__ import annotations

from dataclasses import dataclass

import pytest

from prodkit.testing.behaviours import changed_fields, read_behaviour


@dataclass(frozen=True)
class Made:
    kind: str = "ok"
    status: int = 200
    seconds: float = 0.0


SHORT = ((r"slow-(?P<seconds>[\d.]+)", {"kind": "ok"}), (r"(?P<status>[45]\d\d)", {"kind": "status"}))


def read(value: object) -> Made:
    return read_behaviour(
        Made,
        value,  # type: ignore[arg-type]
        short=SHORT,
        kinds={"ok", "status", "html", "bad_json"},
        numbers={"status": int, "seconds": float},
    )


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ({"kind": "html", "status": 404}, Made("html", 404)),
        ("slow-2.5", Made("ok", 200, 2.5)),
        ("503", Made("status", 503)),
        ("bad-json", Made("bad_json")),
        ("html", Made("html", 502)),
    ],
)
def test_a_behaviour_is_read(value: object, made: Made) -> None:
    assert read(value) == made


@pytest.mark.parametrize("value", ["status", "other", "slow-"])
def test_an_unknown_name_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="unknown behaviour"):
        read(value)


def test_only_changed_fields_are_sent() -> None:
    assert changed_fields(Made(status=503), Made()) == {"status": 503}
    assert changed_fields(Made(), Made()) == {}
