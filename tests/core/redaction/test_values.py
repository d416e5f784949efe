from __future__ import annotations

import pytest

from prodkit.core.redaction.names import HEADER, STRONG, WEAK
from prodkit.core.redaction.values import hides, value_at


def found(text: str, kind: int = STRONG, name: str = "password", *, colon: bool = False) -> str | None:
    """The value that is hidden in `text`, which begins after the separator."""
    span = value_at(text, 0, kind, name, colon)
    return None if span is None else text[slice(*span)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hunter22 and more", "hunter22"),
        (' "hunter 22" and more', "hunter 22"),
        ("'hun\\'ter22', 3", "hun\\'ter22"),
        ('"hunter22 without an end', "hunter22 without an end"),
        ("hunter22)", "hunter22"),
        ("2hunt[er]22]", "2hunt[er]22"),
        ("Bearer hunter22", "hunter22"),
    ],
)
def test_a_value_ends_at_its_quote_or_at_the_end_of_the_word(text: str, value: str) -> None:
    assert found(text) == value


@pytest.mark.parametrize(
    "text", ["", " ", '""', "None", "load_password()", "settings.password", "{password}", "***"]
)
def test_code_templates_and_empty_values_hide_nothing(text: str) -> None:
    assert found(text) is None


def test_a_sentence_after_a_colon_is_no_value() -> None:
    assert found(" please sign in again", name="token", colon=True) is None
    assert found(" hunter22", name="token", colon=True) == "hunter22"


def test_the_value_of_a_header_is_the_rest_of_its_line() -> None:
    text = " a=hunter22; b=hunter33\nHost: x"
    assert found(text, HEADER, "Cookie", colon=True) == text.splitlines()[0].lstrip()


def test_under_a_weak_name_only_a_random_value_is_hidden() -> None:
    assert found("kq2vS1nGdJ0m4T8yRwZc", WEAK, "sig") == "kq2vS1nGdJ0m4T8yRwZc"
    assert found("home-page", WEAK, "key") is None
    assert hides("kq2vS1nGdJ0m4T8yRwZc==", WEAK, "sig")


def test_files_are_no_secrets_and_short_numbers_are_none_under_pass() -> None:
    assert not hides("./keys/server.pem", STRONG, "private_key")
    assert not hides("key.json", STRONG, "api_key")
    assert not hides("12", STRONG, "pass")
    assert hides("12", STRONG, "password")


@pytest.mark.parametrize("text", ["hunt(er)22", "hunt(er", "hunt[er]22", "hunt(er)22 and more"])
def test_a_password_with_brackets_is_no_call(text: str) -> None:
    assert found(text) == text.partition(" ")[0]


@pytest.mark.parametrize("text", ["getpass()", "get_token(user, 3)", "config(name).value"])
def test_a_call_is_not_hidden(text: str) -> None:
    assert found(text) is None
