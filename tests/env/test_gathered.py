from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from prodkit.env.gathered import Gathered


class Counting(Mapping[str, str]):
    """An environment that knows which values were read."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values_ = values
        self.read: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.read.append(name)
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def test_values_of_other_programs_are_never_read() -> None:
    environ = Counting({"PORT": "1", "HOME": "/root", "AWS_SECRET_ACCESS_KEY": "x"})
    gathered = Gathered(environ, {})
    assert gathered.values(("PORT", "HOST"), "", {}) == {"PORT": "1"}
    assert environ.read == ["PORT"]
    assert sorted(gathered.names()) == ["AWS_SECRET_ACCESS_KEY", "HOME", "PORT"]


def test_the_environment_wins_over_files_unless_it_is_empty() -> None:
    gathered = Gathered({"A": "1", "B": ""}, {"a": "2", "B": "3", "C": "4", "D": ""})
    origins = {"A": ".env:1", "B": ".env:2", "C": ".env:3"}
    assert gathered.values(("A", "B", "C", "D"), "", origins) == {"A": "1", "B": "3", "C": "4"}
    assert origins == {"B": ".env:2", "C": ".env:3"}
    assert gathered.is_set("B")
    assert not gathered.is_set("D")


def test_capitals_win_over_the_same_name_in_another_case() -> None:
    assert Gathered({"Port": "1", "PORT": "2"}, {}).values(("PORT",), "", {}) == {"PORT": "2"}
    assert Gathered({"PORT": "", "port": "1"}, {}).values(("PORT",), "", {}) == {"PORT": "1"}
    assert Gathered({"port": "1"}, {}).values(("PORT",), "", {}) == {"PORT": "1"}


def test_nested_names_and_files_are_read_with_their_variable() -> None:
    gathered = Gathered({"DB__HOST": "h", "DBA": "x", "DB_FILE": "/f", "OTHER__X": "1"}, {"db__port": "5"})
    assert gathered.values(("DB",), "__", {}) == {"DB__HOST": "h", "DB__PORT": "5", "DB_FILE": "/f"}


def test_ignored_names_are_not_asked_about() -> None:
    assert list(Gathered({"A": "1", "B": "2"}, {}, ["a"]).names()) == ["B"]


def test_names_that_are_no_text_are_refused() -> None:
    environ: dict[object, str] = {5: "x"}
    with pytest.raises(TypeError, match="names of environ must be text"):
        Gathered(environ, {})  # type: ignore[arg-type]
