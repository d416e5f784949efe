from __future__ import annotations

import pytest

from prodkit.core.redaction.names import HEADER, NONE, STRONG, WEAK, is_sensitive, strength


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DB_PASSWORD",
        "dbPassword",
        "user.password",
        "x-api-key",
        "apiKey",
        "senha",
        "contraseña",
        "CPF",
        "client_secret",
        "password2",
        "session_id",
        "smtp_passwd",
        "refreshToken",
    ],
)
def test_any_value_of_these_names_is_hidden_however_they_are_written(name: str) -> None:
    assert strength(name) >= STRONG
    assert is_sensitive(name)


@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization", "Cookie", "set-cookie"])
def test_headers_are_hidden_to_the_end_of_the_line(name: str) -> None:
    assert strength(name) == HEADER


@pytest.mark.parametrize("name", ["license_number_key", "sig", "code", "stripe", "asana_id", "signature"])
def test_names_that_may_hide_something_are_weak(name: str) -> None:
    assert strength(name) == WEAK
    assert not is_sensitive(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "12",
        "secretary",
        "password_length",
        "max_tokens",
        "token_count",
        "cache_key",
        "primaryKey",
        "keyboard",
        "passwordMinLength",
        "tokens_used",
        "name",
        "public_key",
        "tokenizer",
    ],
)
def test_names_about_a_secret_or_only_spelt_like_one_hide_nothing(name: str) -> None:
    assert strength(name) == NONE


def test_a_long_name_counts_by_its_end() -> None:
    assert is_sensitive("a_" * 5_000 + "password")


def test_many_different_names_do_not_change_the_verdict() -> None:
    for number in range(5_000):
        strength(f"column{number}x")
    assert is_sensitive("password")
