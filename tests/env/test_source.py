from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict

from prodkit.env.problems import Problems
from prodkit.env.source import Source, models_in, read_dotenv, read_files


class Database(BaseModel):
    host: str = ""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="shop_", env_nested_delimiter="__")
    hosts: list[str] = []
    limits: dict[str, int] = {}
    db: Database | None = None


def source(**values: str) -> tuple[Source, Problems]:
    problems = Problems("en")
    return Source(Settings, values, problems), problems


def found(problems: Problems) -> list[tuple[str, str]]:
    return [(each.variable, each.rule) for each in problems.error().problems]


@pytest.mark.parametrize("text", ["a,b", " a , b, ", '["a", "b"]'])
def test_a_list_is_separated_by_commas_or_json(text: str) -> None:
    made, problems = source(SHOP_HOSTS=text)
    assert made()["hosts"] == ["a", "b"]
    assert not problems


def test_every_value_that_cannot_be_decoded_is_a_problem() -> None:
    made, problems = source(SHOP_HOSTS='["a"', SHOP_LIMITS="{")
    made()
    assert found(problems) == [("SHOP_HOSTS", "list"), ("SHOP_LIMITS", "json")]
    assert problems.spoilt == {"SHOP_HOSTS", "SHOP_LIMITS"}


def test_names_are_in_capitals_with_prefix_and_nested_names_are_listed() -> None:
    made, _ = source()
    assert made.variables(Settings.model_fields["hosts"], "hosts") == ["SHOP_HOSTS"]
    assert made.nested() == ["SHOP_DB__HOST"]
    assert models_in(Database | None) == [Database]
    assert models_in(dict[str, list[Database]]) == [Database]
    assert models_in(int) == []


def test_later_files_win_and_the_origin_of_each_variable_is_known(tmp_path: Path) -> None:
    one, two = tmp_path / ".env", tmp_path / ".env.local"
    one.write_text("\ufeffA=1\n# a comment\nexport B='x $A'\n", encoding="utf-8")
    two.write_text("A=2\n", encoding="utf-8")
    problems, origins = Problems("en"), dict[str, str]()
    assert read_dotenv([one, tmp_path / "missing", two], problems, origins) == {"A": "2", "B": "x $A"}
    assert origins == {"A": ".env.local:1", "B": ".env:3"}
    assert not problems


def test_a_line_that_cannot_be_read_and_a_name_set_twice_are_problems(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=1\nB\nA=2\n", encoding="utf-8")
    (tmp_path / "latin").write_bytes(b"A=\xe9\n")
    problems = Problems("en")
    read_dotenv([file, tmp_path / "latin", tmp_path], problems, {})
    rules = found(problems)
    assert rules[:3] == [
        (".env", "dotenv_line"),
        (".env", "dotenv_duplicate"),
        ("latin", "dotenv_unreadable"),
    ]
    assert rules[3] == (tmp_path.name, "dotenv_unreadable")


def test_a_pointer_to_a_file_gives_the_value_without_its_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfline\n two \r\n")
    values, origins, problems = {"KEY_FILE": str(tmp_path / "key")}, dict[str, str](), Problems("en")
    read_files(values, ["KEY"], problems, origins)
    assert values["KEY"] == "line\n two "
    assert origins == {"KEY": "KEY_FILE"}
    assert not problems


def test_a_value_and_its_pointer_together_are_a_problem() -> None:
    values, problems = {"KEY": "x", "KEY_FILE": "/y"}, Problems("en")
    read_files(values, ["KEY"], problems, {})
    assert found(problems) == [("KEY", "both_set")]


def test_a_variable_that_ends_in_file_of_its_own_is_no_pointer() -> None:
    values, problems = {"LOG_FILE": "/nowhere"}, Problems("en")
    read_files(values, ["LOG", "LOG_FILE"], problems, {})
    assert values == {"LOG_FILE": "/nowhere"}
    assert not problems


def test_the_reason_never_names_the_path_which_may_be_the_secret(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * ((1 << 20) + 1))
    (tmp_path / "latin").write_bytes(b"\xe9")
    for name, reason in (
        ("hunter22", os.strerror(2).lower()),
        ("big", "unusable"),
        ("latin", "not UTF-8"),
        (".", "not a file"),
    ):
        problems = Problems("en")
        read_files({"KEY_FILE": str(tmp_path / name)}, ["KEY"], problems, {})
        [problem] = problems.error().problems
        assert (problem.variable, problem.rule) == ("KEY_FILE", "file_unreadable")
        assert problem.hint.endswith(f"({reason})")


def test_a_name_in_two_cases_is_set_twice(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\na=2\n", encoding="utf-8")
    problems = Problems("en")
    read_dotenv([tmp_path / ".env"], problems, {})
    assert found(problems) == [(".env", "dotenv_duplicate")]


def test_quotes_in_a_list_that_do_not_match_are_a_problem() -> None:
    made, problems = source(SHOP_HOSTS='a,"b')
    made()
    assert found(problems) == [("SHOP_HOSTS", "list")]
