from __future__ import annotations

import re

import pytest

from prodkit.core.redaction.names import HEADER, NONE, STRONG, WEAK, is_sensitive, is_suspect, strength


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


NAMES = """
    card_number credit-card connection_string ConnectionString art-api seed_phrase recovery_code verification-code
    session_id sessId DB_PASS dbPass userPin AccountKey X-Amz-Signature new_relic_license message-bird send_grid
    mot_de_passe
    palavra_passe frase_secreta access_code bind_pw api_keys pwd BINDPW stripeKey foobarKey asana_id social_security
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", NAMES)
def test_every_sensitive_name_has_a_suspect_word(name: str) -> None:
    assert strength(name) or "_pw" in name
    assert any(is_suspect(word) for word in re.findall("[A-Za-z]+", name))


@pytest.mark.parametrize(
    "word", ["order", "id", "connection", "database", "user", "status", "worker", "número", "with"]
)
def test_usual_words_are_not_suspect(word: str) -> None:
    assert not is_suspect(word)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("headers", NONE),
        ("authorization", HEADER),
        ("dbpassword", STRONG),
        ("fookey", WEAK),
        ("key", WEAK),
        ("asana", WEAK),
        ("tokens", WEAK),
        ("count", NONE),
        ("colour", NONE),
    ],
)
def test_a_name_of_one_word_is_judged_as_a_part_of_a_longer_name_is(name: str, kind: int) -> None:
    assert strength(name) == kind
    if kind != NONE:
        assert strength(f"the_{name}") == kind
